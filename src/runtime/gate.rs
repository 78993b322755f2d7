//! Where a container's first process waits that one command makes and another starts.
//!
//! It is a socket with a name. Who connects is greeted by the waiting process and lets it go on; by
//! the same connection it learns whether the user's program runs, or why not. The socket is closed
//! before that, so that nobody can start a container twice. While the process waits, connecting works:
//! that tells a container that was created from one that runs, whoever was killed in between.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::channel::{Channel, Message};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::socket;

/// The socket at which a container's first process waits to be started.
#[derive(Debug)]
pub struct Gate(OwnedFd);

impl Gate {
    /// Makes the socket, which nobody waits at yet.
    pub fn new(path: &Path) -> Result<Self> {
        let make = || {
            let (address, _dir) = socket::address(path)?;
            let socket = new_socket()?;
            rustix::net::bind(&socket, &address)?;
            rustix::net::listen(&socket, 8)?;
            io::Result::Ok(socket)
        };
        make().map(Self).context(|| format!("cannot make a socket at {}", path.display()))
    }

    /// Waits for who starts the container.
    pub(super) fn wait(&self) -> io::Result<Channel> {
        loop {
            let came = rustix::io::retry_on_intr(|| {
                rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC)
            })?;
            let channel = Channel::from_fd(came);
            // Somebody may only have looked, or have died on the way.
            if channel.send_waiting().is_ok() && channel.wait().unwrap_or(false) {
                return Ok(channel);
            }
        }
    }

    /// Tells whether somebody waits at a gate.
    pub fn is_closed(path: &Path) -> bool {
        connect(path).is_ok_and(|found| found.is_some())
    }

    /// Lets the process that waits there become the user's program; `false` if nobody waits.
    pub fn open(path: &Path) -> Result<bool> {
        let context = || format!("cannot connect to {}", path.display());
        let Some(channel) = connect(path).context(context)? else { return Ok(false) };
        // What was in the queue when another one was let in is hung up.
        let Message::Waiting = channel.receive()? else { return Ok(false) };
        channel.go();
        match channel.receive()? {
            Message::Running => Ok(true),
            _ => Err(Error::new(Kind::Internal, "the container's process lost its way")),
        }
    }

    /// The descriptor, to keep it where others are closed.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Makes a gate of a descriptor that was moved.
    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Connects to a gate; `None` if there is none, or nobody at it.
fn connect(path: &Path) -> io::Result<Option<Channel>> {
    let found = socket::address(path).and_then(|(address, _dir)| {
        let socket = new_socket()?;
        rustix::net::connect(&socket, &address)?;
        Ok(Channel::from_fd(socket))
    });
    match found {
        Ok(channel) => Ok(Some(channel)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
