//! A command's connection to a container of another host: input, output, signals, the terminal's size.
//!
//! As [`crate::engine::Session`] is for one of this machine.

use std::net::Shutdown;

use rustix::event::{PollFd, PollFlags, poll};

use super::converse::Talk;
use super::host::Host;
use super::parts::{Filled, Parts, Stream};
use super::request::Request;
use crate::engine::{Input, Outgoing, Streams, Typed, catch_signals, write_all};
use crate::error::{Context, Result};
use crate::sys::signal::Signals;
use crate::sys::terminal;

/// What a command is connected to.
#[derive(Debug)]
pub struct Session<'a> {
    host: &'a Host,
    talk: Talk,
    tty: bool,
    /// Where it is told how large the terminal is.
    resize: String,
    /// Where signals go.
    kill: Option<String>,
    signals: Signals,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talked {
    /// The other side has said all.
    Over,
    /// The user left; the container goes on.
    Detached,
}

/// Signals that are passed on, and what says that the terminal has another size.
#[derive(Debug)]
pub struct Caught(Signals);

impl Caught {
    /// Catches them, for good: it must be done before a conversation begins. Without `proxy`, signals end us.
    pub fn new(proxy: bool) -> Result<Self> {
        catch_signals(proxy).map(Self)
    }
}

impl<'a> Session<'a> {
    /// Makes one. `thing` is the path of what has the terminal and gets signals, as in `/containers/ID`.
    pub fn new(host: &'a Host, talk: Talk, tty: bool, thing: &str, caught: Caught) -> Self {
        let kill = thing.starts_with("/containers/").then(|| format!("{thing}/kill"));
        let resize = format!("{thing}/resize");
        Self { host, talk, tty, resize, kill, signals: caught.0 }
    }

    /// Copies input and output until the other side has said all, or the user leaves.
    pub fn run(self, streams: &Streams<'_>) -> Result<Talked> {
        let typed = streams.stdin.filter(|stdin| self.tty && rustix::termios::isatty(stdin));
        let _raw = match typed {
            Some(stdin) => Some(terminal::Raw::new(stdin).context(|| "cannot use the terminal")?),
            None => None,
        };
        let socket = &self.talk.socket;
        socket.set_nonblocking(true).context(|| "cannot use the connection")?;
        self.tell_size(streams);
        let mut parts = Parts::new(self.talk.multiplexed.unwrap_or(!self.tty));
        let mut input = Input::new(streams.stdin, streams.detach_keys);
        let mut outgoing = Outgoing::default();
        // Whether there is no more input once what waits is sent.
        let mut is_last = streams.stdin.is_none();
        let mut is_told = false;
        loop {
            // One that has gone takes nothing; its end of file is what counts.
            let _gone = outgoing.flush(socket);
            if is_last && !is_told && outgoing.is_empty() {
                is_told = true;
                // Without a stream of input there is none to end.
                if streams.stdin.is_some() {
                    drop(socket.shutdown(Shutdown::Write));
                }
            }
            let full = !outgoing.is_empty();
            let wanted = if full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut files =
                vec![PollFd::new(socket, wanted), PollFd::new(&self.signals, PollFlags::IN)];
            if let Some(stdin) = input.stdin.filter(|_| !full) {
                files.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            }
            match poll(&mut files, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context(|| "cannot wait for the host"),
            }
            let ready: Vec<bool> =
                files.iter().map(|file| !(file.revents() & !PollFlags::OUT).is_empty()).collect();
            drop(files);
            if ready[1] {
                self.take_signals(streams)?;
            }
            if ready.get(2) == Some(&true) {
                let (data, typed) = input.read()?;
                outgoing.buffer().extend_from_slice(&data);
                match typed {
                    Typed::DetachKeys => return Ok(Talked::Detached),
                    Typed::End => is_last = true,
                    Typed::More => {}
                }
            }
            if ready[0] && self.hear(&mut parts, streams)? {
                return Ok(Talked::Over);
            }
        }
    }

    /// Takes what has come; tells whether that was all.
    fn hear(&self, parts: &mut Parts, streams: &Streams<'_>) -> Result<bool> {
        let mut socket = &self.talk.socket;
        let filled = parts.fill(&mut socket).context(|| "cannot hear from the host")?;
        while let Some((stream, data)) = parts.take() {
            match stream {
                Stream::Stdout => write_all(streams.stdout, data)?,
                Stream::Stderr => write_all(streams.stderr, data)?,
            }
        }
        Ok(filled == Filled::End)
    }

    fn take_signals(&self, streams: &Streams<'_>) -> Result<()> {
        while let Some(signal) = self.signals.next().context(|| "cannot read signals")? {
            if signal == libc::SIGWINCH {
                self.tell_size(streams);
            } else if let Some(path) = &self.kill {
                // It may have ended meanwhile.
                drop(self.host.act(Request::post(path).with("signal", signal)));
            }
        }
        Ok(())
    }

    fn tell_size(&self, streams: &Streams<'_>) {
        let size = [streams.stdin, streams.stdout].into_iter().flatten().find_map(terminal::size);
        if let (true, Some((rows, columns))) = (self.tty, size) {
            let request = Request::post(&self.resize).with("h", rows).with("w", columns);
            // One that is about to start has its terminal soon, and one that has ended needs none.
            drop::<Result<()>>(self.host.act(request));
        }
    }
}
