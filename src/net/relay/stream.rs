//! One connection to a published port, and the one to the container that goes with it. What is passed on
//! never comes into our memory.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// How much is under way in one direction, in bytes.
const ROOM: usize = 256 << 10;
/// How often a direction is served before others are.
const ROUNDS: usize = 8;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who has come.
    Client,
    /// The container.
    Server,
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// Bytes that are in it.
    held: usize,
    /// Whether nothing more comes.
    ended: bool,
    /// Whether the receiver knows that.
    told: bool,
}

/// A connection and its other half.
#[derive(Debug)]
pub(super) struct Stream {
    client: OwnedFd,
    server: OwnedFd,
    /// Whether the container has not answered yet.
    connecting: bool,
    /// To the container, and from it.
    to: Pipe,
    from: Pipe,
    /// What each side is waited for.
    waits: [EventFlags; 2],
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A user may not have that much; it does with less.
        let _as_it_is = fcntl_setpipe_size(&writer, ROOM);
        Ok(Self { reader, writer, held: 0, ended: false, told: false })
    }

    /// Moves what can be moved.
    fn pump(&mut self, source: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        for _ in 0..ROUNDS {
            let before = (self.held, self.ended, self.told);
            let mut moved = 0;
            if !self.ended && self.held < ROOM {
                match splice(source, None, &self.writer, None, ROOM - self.held, flags) {
                    Ok(0) => self.ended = true,
                    Ok(length) => self.held += length,
                    // Nothing is there, or there is no room.
                    Err(Errno::AGAIN) => {}
                    Err(error) => return Err(error),
                }
            }
            if self.held > 0 {
                match splice(&self.reader, None, target, None, self.held, flags) {
                    Ok(length) => {
                        self.held -= length;
                        moved = length;
                    }
                    Err(Errno::AGAIN) => {}
                    Err(error) => return Err(error),
                }
            }
            if self.ended && self.held == 0 && !self.told {
                shutdown(target, Shutdown::Write)?;
                self.told = true;
            }
            if moved == 0 && before == (self.held, self.ended, self.told) {
                break;
            }
        }
        Ok(())
    }

    /// Tells whether more is to be read.
    fn reads(&self) -> bool {
        !self.ended && self.held == 0
    }

    /// Tells whether there is something to be written.
    fn writes(&self) -> bool {
        self.held > 0
    }
}

impl Stream {
    /// Puts two connections together, of which the one to the container is still being made.
    pub(super) fn new(client: OwnedFd, server: OwnedFd) -> io::Result<Self> {
        for socket in [&client, &server] {
            sockopt::set_tcp_nodelay(socket, true)?;
        }
        let (to, from) = (Pipe::new()?, Pipe::new()?);
        let waits = [EventFlags::empty(); 2];
        Ok(Self { client, server, connecting: true, to, from, waits })
    }

    /// Waits for what there is to wait for, under this number for the client and the next one for the
    /// container.
    pub(super) fn wait(&mut self, events: &OwnedFd, token: u64) -> io::Result<()> {
        let flags = |reads: bool, writes: bool| {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, reads);
            flags.set(EventFlags::OUT, writes);
            flags
        };
        let wanted = match self.connecting {
            true => [EventFlags::empty(), EventFlags::OUT],
            false => [
                flags(self.to.reads(), self.from.writes()),
                flags(self.from.reads(), self.to.writes()),
            ],
        };
        for (index, (socket, side)) in
            [(&self.client, 0), (&self.server, 1)].into_iter().enumerate()
        {
            let (before, now) = (self.waits[index], wanted[index]);
            if before == now {
                continue;
            }
            let data = EventData::new_u64(token | side);
            // One that nothing is wanted of would still tell, again and again, that it is closed.
            match (before.is_empty(), now.is_empty()) {
                (true, _) => epoll::add(events, socket, data, now)?,
                (_, true) => epoll::delete(events, socket)?,
                _ => epoll::modify(events, socket, data, now)?,
            }
            self.waits[index] = now;
        }
        Ok(())
    }

    /// Goes on after an event; `false` if it is over.
    pub(super) fn step(&mut self, side: Side, flags: EventFlags) -> bool {
        if self.connecting {
            if side == Side::Client {
                return true;
            }
            if !matches!(sockopt::socket_error(&self.server), Ok(Ok(()))) {
                return self.hang_up();
            }
            self.connecting = false;
        }
        let moved = self
            .to
            .pump(&self.client, &self.server)
            .and_then(|()| self.from.pump(&self.server, &self.client));
        if moved.is_err() || flags.contains(EventFlags::ERR) {
            return self.hang_up();
        }
        !(self.to.told && self.from.told)
    }

    /// Ends it in the way that tells the client that something went wrong.
    fn hang_up(&self) -> bool {
        let at_once = Some(std::time::Duration::ZERO);
        for socket in [&self.client, &self.server] {
            let _gone = sockopt::set_socket_linger(socket, at_once);
        }
        false
    }
}
