//! Who decides about the system calls that a filter leaves to another process.
//!
//! The profile names a socket of a stream. Whoever listens there gets one message when the filter is
//! in place: which process it is about, in the OCI's words, and with it the descriptor by which the
//! kernel asks. The connection is made while the host's paths are there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde_json::{Value, json};

use crate::error::{Context, Result};
use crate::sys::socket;

/// Where an agent listens, and what the profile wants it told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) path: PathBuf,
    pub(super) metadata: Option<String>,
}

/// A connection to an agent, and what it is going to be told.
#[derive(Debug)]
pub(in crate::runtime) struct Agent {
    socket: OwnedFd,
    message: Vec<u8>,
}

impl Listener {
    /// Connects to the agent, on behalf of a process with this number in the OCI's `state`.
    pub(super) fn connect(&self, pid: i32, state: &Value) -> Result<Agent> {
        let connect = || -> io::Result<OwnedFd> {
            let (address, _dir) = socket::address(&self.path)?;
            let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
            let stream = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
            rustix::net::connect(&stream, &address)?;
            Ok(stream)
        };
        let socket = connect().context(|| {
            let path = self.path.display();
            format!("cannot connect to the seccomp agent at {path}")
        })?;
        let mut message = json!({
            "ociVersion": state["ociVersion"],
            "fds": ["seccompFd"],
            "pid": pid,
            "state": state,
        });
        if let Some(metadata) = &self.metadata {
            message["metadata"] = json!(metadata);
        }
        Ok(Agent { socket, message: message.to_string().into_bytes() })
    }
}

impl Agent {
    /// Hands the kernel's descriptor over.
    pub(in crate::runtime) fn hand_over(&self, listener: BorrowedFd<'_>) -> io::Result<()> {
        socket::send(self.socket.as_fd(), &self.message, Some(listener))
    }

    /// The connection, to keep it where others are closed.
    pub(in crate::runtime) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The same by a connection that was moved.
    pub(in crate::runtime) fn moved(self, socket: OwnedFd) -> Self {
        // The old number is closed, and may be somebody else's.
        std::mem::forget(self.socket);
        Self { socket, message: self.message }
    }
}
