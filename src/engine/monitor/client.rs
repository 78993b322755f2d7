//! Who listens to a monitor: the command that started the container, and those that attached later.
//!
//! One that is slow never keeps the container from writing, as long as the log takes what it writes:
//! what it has not taken waits for it on the disk. A terminal that takes something is waited for all
//! the same, as everywhere, or else who interrupts a flood would have to sit through the rest of it.
//! Where there is no log, the container waits, or something would be lost.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::backlog::{Backlog, MOST_IN_MEMORY};
use crate::engine::checkpoint::RestoreOptions;
use crate::engine::frame::{self, Decoder, Filled, FrameKind, Hello};
use crate::error::Result;
use crate::sys::socket;

/// What waits on the disk at most for one client. Then the one that started the container, and may
/// be part of a pipeline, is waited for; others have to attach again.
const MOST_PENDING: u64 = 1 << 30;

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    decoder: Decoder,
    pending: Backlog,
    hello: Hello,
    /// Whether it has started the container.
    starter: bool,
    stops: bool,
    gone: bool,
}

/// What a client asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// Input for the container.
    Input(Vec<u8>),
    /// There is no more input.
    EndOfInput,
    /// Rows and columns of its terminal.
    Resize(u16, u16),
    /// Do not start the container again.
    Stop,
    /// Look at the record: limits or restart policy were changed.
    Update,
    /// Probe the container's health.
    Probe,
    /// Let the container's program run.
    Start,
    /// Make the container's processes of its checkpoint.
    Restore(RestoreOptions),
}

impl Client {
    /// Makes a client of a connected socket.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        socket::set_nonblocking(&socket)?;
        Ok(Self {
            socket,
            decoder: Decoder::default(),
            pending: Backlog::new(),
            hello: Hello::default(),
            starter: false,
            stops: false,
            gone: false,
        })
    }

    /// Makes a client of the socket of who started the container.
    pub(super) fn starter(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { starter: true, ..Self::new(socket)? })
    }

    /// Returns the socket, to wait for it.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Tells whether it has hung up.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Tells whether it takes the container's output.
    pub(super) fn wants_output(&self) -> bool {
        self.hello.output
    }

    /// Tells whether it has asked the container to end, and waits for that.
    pub(super) fn is_stopping(&self) -> bool {
        self.stops
    }

    /// Tells whether something waits to be sent.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Tells whether it has not taken more than waits in memory.
    pub(super) fn is_slow(&self) -> bool {
        !self.gone && self.pending.len() > MOST_IN_MEMORY as u64
    }

    /// Tells whether the container has to wait for it; `logged` says whether the log takes its output.
    pub(super) fn holds_up(&self, logged: bool) -> bool {
        let is_terminal = self.hello.terminal && self.pending.is_moving();
        let no_room = self.pending.is_broken() || self.pending.len() >= MOST_PENDING;
        self.is_slow() && (!logged || is_terminal || no_room)
    }

    /// Queues a frame of the container's output, if it wants that: in a file in `dir` if it is slow,
    /// and there is one.
    pub(super) fn output(&mut self, kind: FrameKind, data: &[u8], dir: Option<&Path>) {
        if !self.hello.output || self.gone {
            return;
        }
        let mut bytes = Vec::new();
        frame::append(&mut bytes, kind, data);
        match dir {
            Some(dir) => self.pending.push_to_file(&bytes, dir),
            None => self.pending.push(&bytes),
        }
        self.flush();
        self.gone |= !self.starter && self.pending.len() >= MOST_PENDING;
    }

    /// Queues a frame with a value.
    pub(super) fn tell<T: serde::Serialize>(&mut self, kind: FrameKind, value: &T) {
        if !self.gone {
            let mut bytes = Vec::new();
            frame::append_json(&mut bytes, kind, value);
            self.pending.push(&bytes);
            self.flush();
        }
    }

    /// Sends what it takes.
    pub(super) fn flush(&mut self) {
        // An error means that it has hung up: nobody is left to tell.
        self.gone |= self.pending.flush(&self.socket).is_err();
    }

    /// Reads what it has to say. Nonsense is answered by hanging up.
    pub(super) fn read(&mut self) -> Vec<Request> {
        match self.decoder.fill(self.socket.as_fd()) {
            Ok(Filled::Some) => {}
            Ok(Filled::Later) => return Vec::new(),
            Ok(Filled::End) | Err(_) => {
                self.gone = true;
                return Vec::new();
            }
        }
        let mut requests = Vec::new();
        if self.decode(&mut requests).is_err() {
            self.gone = true;
        }
        requests
    }

    fn decode(&mut self, requests: &mut Vec<Request>) -> Result<()> {
        while let Some((kind, data)) = self.decoder.next()? {
            match kind {
                FrameKind::Stdin => requests.push(Request::Input(data.to_vec())),
                FrameKind::StdinEnd => requests.push(Request::EndOfInput),
                FrameKind::Hello => self.hello = frame::json(data)?,
                FrameKind::Resize => {
                    let (rows, columns) = frame::json(data)?;
                    requests.push(Request::Resize(rows, columns));
                }
                FrameKind::Stop => {
                    self.stops = true;
                    requests.push(Request::Stop);
                }
                FrameKind::Update => requests.push(Request::Update),
                FrameKind::Probe => requests.push(Request::Probe),
                FrameKind::Start => requests.push(Request::Start),
                FrameKind::Restore => requests.push(Request::Restore(frame::json(data)?)),
                // Words of ours, not of a client.
                FrameKind::Stdout
                | FrameKind::Stderr
                | FrameKind::Initialized
                | FrameKind::Mounted
                | FrameKind::Started
                | FrameKind::Failed
                | FrameKind::Exited
                | FrameKind::Probed => {}
            }
        }
        Ok(())
    }
}
