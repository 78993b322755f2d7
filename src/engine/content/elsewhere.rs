//! Mounts that a child makes: in namespaces of its own, and without keeping this process.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::SocketType;
use rustix::process::{getpid, getppid};

use crate::engine::frame::Failed;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::{Child, clone3, exit_now};
use crate::sys::{process, socket};

/// The longest word of the child: that it is made and what is to be known of it, or why it is not.
const LONGEST: usize = 16 << 10;

/// A mount that is being made. Who drops it wants it no more: nothing is left of it then, however long
/// it would have taken.
#[derive(Debug)]
pub(in crate::engine) struct Making {
    child: Child,
    socket: OwnedFd,
}

/// What a child has made.
#[derive(Debug)]
pub(in crate::engine) struct Made {
    /// The mount, which is mounted nowhere.
    pub(in crate::engine) tree: OwnedFd,
    /// What did not go as asked.
    pub(in crate::engine) warnings: Vec<String>,
}

impl From<OwnedFd> for Made {
    fn from(tree: OwnedFd) -> Self {
        Self { tree, warnings: Vec::new() }
    }
}

impl Making {
    /// Has a child make a mount, in namespaces of its own (`CLONE_NEW…`). What it opens outlives both.
    /// This process must have a single thread.
    pub(in crate::engine) fn begin(
        namespaces: i32,
        make: impl FnOnce() -> Result<Made>,
    ) -> Result<Self> {
        let context = || "cannot send a process to make a mount";
        let (ours, theirs) = socket::pair(SocketType::SEQPACKET).context(context)?;
        let parent = getpid();
        let child = clone3(namespaces, None, || -> Infallible {
            // A file server that does not answer must not keep it here when nobody waits any more.
            if process::die_with_parent().is_err() || getppid() != Some(parent) {
                exit_now(125)
            }
            let word = |kind: u8, data: serde_json::Result<Vec<u8>>| {
                let data = data.ok().filter(|data| data.len() < LONGEST).unwrap_or_default();
                [&[kind], &data[..]].concat()
            };
            // Nobody listens if that fails.
            match make() {
                Ok(made) => {
                    let text = word(b't', serde_json::to_vec(&made.warnings));
                    drop(socket::send(theirs.as_fd(), &text, Some(made.tree.as_fd())));
                }
                Err(error) => {
                    let text = word(b'e', serde_json::to_vec(&Failed::from(&error)));
                    drop(socket::send(theirs.as_fd(), &text, None));
                }
            }
            exit_now(0)
        })
        .context(context)?;
        Ok(Self { child, socket: ours })
    }

    /// Waits until it is made.
    pub(in crate::engine) fn finish(self) -> Result<Made> {
        let context = || "cannot hear from the process that makes a mount";
        let mut text = vec![0; LONGEST];
        let received = socket::receive(self.socket.as_fd(), &mut text);
        process::wait(self.child.pidfd.as_fd()).context(context)?;
        let (length, tree) = received.context(context)?;
        let data = text.get(1..length).unwrap_or_default();
        match tree {
            Some(tree) => {
                Ok(Made { tree, warnings: serde_json::from_slice(data).unwrap_or_default() })
            }
            None => Err(match serde_json::from_slice::<Failed>(data) {
                Ok(failed) => Error::from(failed),
                Err(_) => Error::new(Kind::Internal, "the process that makes a mount was killed"),
            }),
        }
    }
}

impl AsFd for Making {
    /// What can be read as soon as there is nothing to wait for.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // It has ended, or does so now; what a server that hangs makes of it is not waited for.
        let _gone = process::send_signal(&self.child.pidfd, libc::SIGKILL);
    }
}

/// Has a child make a mount, as [`Making::begin`], and waits for it.
pub(in crate::engine) fn made_elsewhere(
    namespaces: i32,
    make: impl FnOnce() -> Result<OwnedFd>,
) -> Result<OwnedFd> {
    let made = Making::begin(namespaces, || make().map(Made::from)).and_then(Making::finish);
    // What is missing in there is no container that is missing.
    made.map(|made| made.tree)
        .context(|| "cannot look into the container")
        .map_err(|error| error.kind_is(Kind::Internal))
}
