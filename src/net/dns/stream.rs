//! Queries by TCP: what does not fit into a datagram.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType};

use super::message::{Outcome, Query, parse};
use super::upstream::Upstream;

/// How long a connection may be idle, and how long a name server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message of which the length is known, and what is there of it.
#[derive(Debug, Default)]
struct Frame(Vec<u8>);

impl Frame {
    fn of(message: &[u8]) -> Self {
        let length = u16::try_from(message.len()).unwrap_or(0);
        Self([&length.to_be_bytes()[..], message].concat())
    }

    /// Returns how many bytes are missing.
    fn missing(&self) -> usize {
        match self.0.first_chunk::<2>() {
            None => 2 - self.0.len(),
            Some(length) => usize::from(u16::from_be_bytes(*length)) + 2 - self.0.len(),
        }
    }

    /// Reads what is missing, or a part of it; `Ok(true)` if it is whole.
    fn read(&mut self, socket: &OwnedFd) -> Result<bool, Errno> {
        loop {
            let missing = self.missing();
            if missing == 0 && self.0.len() > 2 {
                return Ok(true);
            }
            let mut some = [0; 2048];
            let room = some.len().min(missing);
            match rustix::net::recv(socket, &mut some[..room], RecvFlags::empty()) {
                Ok((0, _)) => return Err(Errno::PIPE),
                Ok((length, _)) => self.0.extend_from_slice(&some[..length]),
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes it, or a part of it; `Ok(true)` if nothing is left.
    fn write(&mut self, socket: &OwnedFd) -> Result<bool, Errno> {
        while !self.0.is_empty() {
            match rustix::net::send(socket, &self.0, SendFlags::NOSIGNAL) {
                Ok(length) => drop(self.0.drain(..length)),
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// What a connection is at.
#[derive(Debug)]
enum Step {
    /// It reads a query.
    Read(Frame),
    /// It waits for a name server.
    Ask(Box<Asking>),
    /// It writes the answer.
    Write(Frame),
}

/// A query that a name server is being asked.
#[derive(Debug)]
struct Asking {
    query: Query,
    message: Vec<u8>,
    /// Those that were not asked yet, the next one last.
    servers: Vec<IpAddr>,
    server: OwnedFd,
    out: Frame,
    answer: Frame,
}

impl Asking {
    /// Begins to ask the first name server that can be connected to; `None` if there is none.
    fn begin(
        query: Query,
        message: Vec<u8>,
        mut servers: Vec<IpAddr>,
        upstream: &Upstream,
        netns: BorrowedFd<'_>,
    ) -> Option<Box<Self>> {
        while let Some(server) = servers.pop() {
            let Ok(server) = upstream.connect(server, SocketType::STREAM, netns) else { continue };
            let (out, answer) = (Frame(message.clone()), Frame::default());
            return Some(Box::new(Self { query, message, servers, server, out, answer }));
        }
        None
    }

    /// Goes on as far as it goes; `Ok(true)` once the answer is there.
    fn go_on(&mut self) -> Result<bool, Errno> {
        if !self.out.write(&self.server)? || !self.answer.read(&self.server)? {
            return Ok(false);
        }
        match self.query.is_answered_by(self.query.id(), &self.answer.0[2..]) {
            true => Ok(true),
            false => Err(Errno::BADMSG),
        }
    }
}

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Stream {
    socket: OwnedFd,
    step: Step,
    until: Instant,
}

impl Stream {
    /// Takes a connection over that never blocks.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, step: Step::Read(Frame::default()), until: Instant::now() + PATIENCE }
    }

    /// Returns what is waited for.
    pub(super) fn file(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.step {
            Step::Read(_) => (self.socket.as_fd(), PollFlags::IN),
            Step::Ask(asking) if asking.out.0.is_empty() => (asking.server.as_fd(), PollFlags::IN),
            Step::Ask(asking) => (asking.server.as_fd(), PollFlags::OUT),
            Step::Write(_) => (self.socket.as_fd(), PollFlags::OUT),
        }
    }

    /// Returns when it has lasted long enough.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Goes on as far as it goes without waiting; `false` if it is over. `answer` is told a query and
    /// gives its answer, or nothing if a name server must be asked.
    pub(super) fn step(
        &mut self,
        upstream: &mut Upstream,
        netns: BorrowedFd<'_>,
        answer: impl Fn(&Query) -> Option<Vec<u8>>,
    ) -> bool {
        // A few steps a turn: others wait, too.
        for _ in 0..8 {
            let step = std::mem::replace(&mut self.step, Step::Read(Frame::default()));
            let gone_on = match step {
                Step::Read(frame) => self.read(frame, upstream, netns, &answer),
                Step::Ask(asking) => Some(wait(asking, upstream, netns)),
                Step::Write(frame) => self.write(frame),
            };
            let Some((next, moved)) = gone_on else { return false };
            self.step = next;
            if !moved {
                return Instant::now() < self.until;
            }
            self.until = Instant::now() + PATIENCE;
        }
        true
    }

    /// Returns the next step, and whether that is another one; `None` if the client is gone.
    fn read(
        &self,
        mut frame: Frame,
        upstream: &mut Upstream,
        netns: BorrowedFd<'_>,
        answer: impl Fn(&Query) -> Option<Vec<u8>>,
    ) -> Option<(Step, bool)> {
        if !frame.read(&self.socket).ok()? {
            return Some((Step::Read(frame), false));
        }
        let next = match parse(&frame.0[2..]) {
            Err(refusal) => Step::Write(Frame::of(&refusal?)),
            Ok(query) => match answer(&query) {
                Some(answer) => Step::Write(Frame::of(&answer)),
                None => {
                    let servers = upstream.servers().iter().rev().copied().collect();
                    ask(query, frame.0, servers, upstream, netns)
                }
            },
        };
        Some((next, true))
    }

    fn write(&self, mut frame: Frame) -> Option<(Step, bool)> {
        match frame.write(&self.socket).ok()? {
            true => Some((Step::Read(Frame::default()), true)),
            false => Some((Step::Write(frame), false)),
        }
    }
}

/// Looks for the answer of a name server; one that fails is followed by the next one.
fn wait(mut asking: Box<Asking>, upstream: &Upstream, netns: BorrowedFd<'_>) -> (Step, bool) {
    match asking.go_on() {
        Ok(false) => (Step::Ask(asking), false),
        Ok(true) => (Step::Write(asking.answer), true),
        Err(_) => {
            let Asking { query, message, servers, .. } = *asking;
            (ask(query, message, servers, upstream, netns), true)
        }
    }
}

fn ask(
    query: Query,
    message: Vec<u8>,
    servers: Vec<IpAddr>,
    upstream: &Upstream,
    netns: BorrowedFd<'_>,
) -> Step {
    let failed = query.answer(Outcome::Failed, &[], None);
    match Asking::begin(query, message, servers, upstream, netns) {
        Some(asking) => Step::Ask(asking),
        None => Step::Write(Frame::of(&failed)),
    }
}
