//! What the launcher and the container's first process tell each other before the user's program runs.
//!
//! One socket pair of messages. Launcher to child: `go`, perhaps with what was not yet known when the child
//! was made, and before it `ready?` if it wants to know.
//! Child to launcher: its terminal, that its file tree is made (if somebody wants to know), that it is
//! ready, or why it failed. Who makes the child on behalf of the launcher (see `threshold`) has another
//! pair, and hands the child's descriptor over. The child's end is closed at exec: end of file without
//! a report means success.
//!
//! A child that is made by one command and started by another waits at a socket with a name (see
//! `gate`). Who connects there talks to it as the launcher did.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::socket;

const GO: u8 = b'G';
const IS_READY: u8 = b'?';
const READY: u8 = b'R';
const TERMINAL: u8 = b'T';
const BORN: u8 = b'B';
const MOUNTED: u8 = b'M';
const WAITING: u8 = b'W';
const FAILED: u8 = b'E';

/// One end of the channel.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

#[derive(Serialize, Deserialize)]
struct Report {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

/// What came over the channel.
pub(super) enum Message {
    /// The master side of the container's terminal.
    Terminal(OwnedFd),
    /// The first process was made by somebody else: its number and its descriptor.
    Born(i32, OwnedFd),
    /// Nothing is left to be done but to run the user's program.
    Ready,
    /// All is mounted, and the root is still the host's.
    Mounted,
    /// It waits to be started.
    Waiting,
    /// The user's program runs.
    Running,
}

impl Channel {
    /// Makes both ends.
    pub(super) fn pair() -> Result<(Self, Self)> {
        let (ours, theirs) = socket::pair(rustix::net::SocketType::SEQPACKET)
            .context(|| "cannot make a socket pair")?;
        Ok((Self(ours), Self(theirs)))
    }

    /// Lets the child go on. It may have failed already: then its report says why.
    pub(super) fn go(&self) {
        self.go_with(&[]);
    }

    /// As [`go`](Self::go), with something for it.
    pub(super) fn go_with(&self, given: &[u8]) {
        let _reported_by_the_child = socket::send(self.0.as_fd(), &[&[GO], given].concat(), None);
    }

    /// Asks the child to say when nothing is left to be done but to go on.
    pub(super) fn ask(&self) {
        let _reported_by_the_child = socket::send(self.0.as_fd(), &[IS_READY], None);
    }

    /// Waits until the launcher lets us go on; `false` if it gave up, or has died.
    ///
    /// It may have died before this process was tied to it, with its word already on the way. From
    /// here on, the kernel sees to it.
    pub(super) fn wait(&self) -> io::Result<bool> {
        self.wait_for(0).map(|given| given.is_some())
    }

    /// As [`wait`](Self::wait); returns what the launcher has for us, up to so many bytes.
    pub(super) fn wait_for(&self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut data = vec![0; most + 1];
        let (mut length, _) = socket::receive(self.0.as_fd(), &mut data)?;
        if data[..length] == [IS_READY] {
            socket::send(self.0.as_fd(), &[READY], None)?;
            (length, _) = socket::receive(self.0.as_fd(), &mut data)?;
        }
        let mut end = [PollFd::new(&self.0, PollFlags::empty())];
        poll(&mut end, Some(&Timespec::default()))?;
        let is_alive = !end[0].revents().contains(PollFlags::HUP);
        let given = data[..length].strip_prefix(&[GO]).filter(|_| is_alive);
        Ok(given.map(<[u8]>::to_vec))
    }

    /// Hands the terminal to the launcher.
    pub(super) fn send_terminal(&self, terminal: BorrowedFd<'_>) -> io::Result<()> {
        socket::send(self.0.as_fd(), &[TERMINAL], Some(terminal))
    }

    /// Tells the launcher that all is mounted.
    pub(super) fn send_mounted(&self) -> io::Result<()> {
        socket::send(self.0.as_fd(), &[MOUNTED], None)
    }

    /// Tells the launcher, or who has come to start it, that the child waits.
    pub(super) fn send_waiting(&self) -> io::Result<()> {
        socket::send(self.0.as_fd(), &[WAITING], None)
    }

    /// Hands a process that was made for the launcher over to it.
    pub(super) fn send_born(&self, pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        let mut data = vec![BORN];
        data.extend(pid.to_ne_bytes());
        socket::send(self.0.as_fd(), &data, Some(pidfd))
    }

    /// Tells the launcher why there is no container.
    pub(super) fn fail(&self, error: &Error) {
        let report = Report {
            kind: error.kind(),
            message: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
        };
        let mut data = vec![FAILED];
        if serde_json::to_writer(&mut data, &report).is_ok() {
            let _nobody_left_to_tell = socket::send(self.0.as_fd(), &data, None);
        }
    }

    /// Waits for what the child has to say.
    pub(super) fn receive(&self) -> Result<Message> {
        let mut data = vec![0; 16 << 10];
        let (length, file) = socket::receive(self.0.as_fd(), &mut data)
            .context(|| "cannot hear from the container's first process")?;
        match (data[..length].split_first(), file) {
            (None, _) => Ok(Message::Running),
            (Some((&TERMINAL, _)), Some(terminal)) => Ok(Message::Terminal(terminal)),
            (Some((&READY, [])), _) => Ok(Message::Ready),
            (Some((&MOUNTED, _)), _) => Ok(Message::Mounted),
            (Some((&WAITING, _)), _) => Ok(Message::Waiting),
            (Some((&BORN, pid)), Some(pidfd)) if pid.len() == 4 => {
                let pid = pid.try_into().map_or(0, i32::from_ne_bytes);
                Ok(Message::Born(pid, pidfd))
            }
            (Some((&FAILED, report)), _) => {
                let report: Report = serde_json::from_slice(report)
                    .context(|| "cannot understand the container's first process")?;
                let error = Error::new(report.kind, report.message);
                Err(match report.hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                })
            }
            _ => Err(Error::new(Kind::Internal, "unexpected word from the container's process")),
        }
    }

    /// Returns what the child has failed with so far, without waiting.
    pub(super) fn reported(&self) -> Option<Error> {
        socket::set_nonblocking(&self.0).ok()?;
        loop {
            match self.receive() {
                // They came first.
                Ok(Message::Terminal(_) | Message::Mounted | Message::Ready) => {}
                Ok(Message::Running | Message::Waiting | Message::Born(..)) => return None,
                Err(error) if error.kind() == Kind::Unavailable => return None,
                Err(error) => return Some(error),
            }
        }
    }

    /// The descriptor, to keep it where others are closed.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Makes a channel of a descriptor that was moved.
    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }
}
