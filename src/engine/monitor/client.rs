//! Who listens to a monitor: the command that started the container, and those that attached later.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::engine::frame::{self, Decoder, Filled, FrameKind, Hello};
use crate::engine::outgoing::Outgoing;
use crate::error::Result;
use crate::sys::socket;

/// A client that takes no more than this is slow: the container waits for it, as on a terminal.
const MOST_PENDING: usize = 256 << 10;

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    socket: OwnedFd,
    decoder: Decoder,
    pending: Outgoing,
    hello: Hello,
    stops: bool,
    gone: bool,
}

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
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
}

impl Client {
    /// Makes a client of a connected socket.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        socket::set_nonblocking(&socket)?;
        Ok(Self {
            socket,
            decoder: Decoder::default(),
            pending: Outgoing::default(),
            hello: Hello::default(),
            stops: false,
            gone: false,
        })
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

    /// Tells whether the container has to wait for it.
    pub(super) fn is_slow(&self) -> bool {
        !self.gone && self.pending.len() > MOST_PENDING
    }

    /// Queues a frame of the container's output, if it wants that.
    pub(super) fn output(&mut self, kind: FrameKind, data: &[u8]) {
        if self.hello.output && !self.gone {
            frame::append(self.pending.buffer(), kind, data);
            self.flush();
        }
    }

    /// Queues a frame with a value.
    pub(super) fn tell<T: serde::Serialize>(&mut self, kind: FrameKind, value: &T) {
        if !self.gone {
            frame::append_json(self.pending.buffer(), kind, value);
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
                // Words of ours, not of a client.
                FrameKind::Stdout
                | FrameKind::Stderr
                | FrameKind::Started
                | FrameKind::Failed
                | FrameKind::Exited
                | FrameKind::Probed => {}
            }
        }
        Ok(())
    }
}
