//! A command's connection to a running container: input, output, signals, the terminal's size.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::Engine;
use super::frame::{self, Decoder, Filled, FrameKind, Hello, Started};
use super::outgoing::Outgoing;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::store::container::{Container, Run};
use crate::store::events::{Action, Event};
use crate::sys::signal::Signals;
use crate::sys::{process, socket, terminal};

/// How a command wants to be connected.
#[derive(Clone, Debug, Default)]
pub struct Attach {
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Rows and columns of the user's terminal.
    pub size: Option<(u16, u16)>,
    /// Whether output goes to the user's terminal.
    pub to_terminal: bool,
    /// Whether signals to this process are passed on to the container.
    pub proxy_signals: bool,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The container has ended with this exit code.
    Exited(i32),
    /// The user left; the container goes on.
    Detached,
}

/// What a session reads and writes.
#[derive(Debug)]
pub struct Streams<'a> {
    /// Where input comes from; `None` gives none.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Where output goes.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Where error output goes.
    pub stderr: Option<BorrowedFd<'a>>,
    /// Keys that end the session, as bytes; empty means that none do.
    pub detach_keys: &'a [u8],
}

/// A connection to a container's monitor.
#[derive(Debug)]
pub struct Session {
    socket: OwnedFd,
    decoder: Decoder,
    started: Started,
    process: Option<OwnedFd>,
    tty: bool,
    signals: Option<Signals>,
    outgoing: Outgoing,
}

/// Signals that have their own meaning here or cannot be caught; all others are passed on.
const NOT_PROXIED: [i32; 9] = [
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGWINCH,
    libc::SIGURG,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGTSTP,
];

/// Catches the signals of a command that is connected to a container, for good: from now on they
/// wait to be read, and it has nothing else to do.
pub(crate) fn catch_signals(proxy: bool) -> Result<Signals> {
    let mut caught = if proxy { proxied_signals() } else { Vec::new() };
    caught.push(libc::SIGWINCH);
    Signals::new(&caught).context(|| "cannot catch signals")
}

/// The signals that are passed on to a container.
pub(super) fn proxied_signals() -> Vec<i32> {
    (1..=31).filter(|signal| !NOT_PROXIED.contains(signal)).collect()
}

impl Session {
    pub(super) fn new(
        socket: OwnedFd,
        decoder: Decoder,
        started: Started,
        tty: bool,
        signals: Option<Signals>,
    ) -> Result<Self> {
        let process = process::open(started.pid, started.start_time)
            .context(|| "cannot watch the container's process")?;
        Ok(Self { socket, decoder, started, process, tty, signals, outgoing: Outgoing::default() })
    }

    /// Returns what did not go as asked when the container was started.
    pub fn warnings(&self) -> &[String] {
        &self.started.warnings
    }

    /// Copies input and output until the container ends or the user leaves.
    pub fn run(mut self, streams: &Streams<'_>) -> Result<Ended> {
        let signals = match self.signals.take() {
            Some(signals) => signals,
            None => catch_signals(false)?,
        };
        let user_terminal =
            streams.stdin.filter(|stdin| self.tty && rustix::termios::isatty(stdin));
        let _raw = match user_terminal {
            Some(stdin) => Some(terminal::Raw::new(stdin).context(|| "cannot use the terminal")?),
            None => None,
        };
        // Neither side may wait for the other to take something while it has something to give.
        socket::set_nonblocking(&self.socket).context(|| "cannot use the monitor's socket")?;
        self.queue_size(streams);
        let mut input = Input::new(streams.stdin, streams.detach_keys);
        loop {
            while let Some(ended) = self.next_frame(streams)? {
                if let Some(code) = ended {
                    return Ok(Ended::Exited(code));
                }
            }
            // A monitor that has gone takes nothing; its end of file is what counts.
            let _gone = self.outgoing.flush(&self.socket);
            let full = !self.outgoing.is_empty();
            let wanted = if full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut files =
                vec![PollFd::new(&self.socket, wanted), PollFd::new(&signals, PollFlags::IN)];
            if let Some(stdin) = input.stdin.filter(|_| !full) {
                files.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            }
            match poll(&mut files, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context(|| "cannot wait for the container"),
            }
            let ready: Vec<bool> =
                files.iter().map(|file| !(file.revents() & !PollFlags::OUT).is_empty()).collect();
            drop(files);
            if ready[1] {
                self.take_signals(&signals, streams)?;
            }
            if ready.get(2) == Some(&true) && self.pass_on(&mut input)? == Typed::DetachKeys {
                return Ok(Ended::Detached);
            }
            if ready[0]
                && self.decoder.fill(&self.socket).context(|| "cannot hear from the monitor")?
                    == Filled::End
            {
                return Err(Error::new(Kind::Internal, "the container's monitor has died")
                    .hint("the container was ended with it; see `barge ps -a`"));
            }
        }
    }

    /// Waits for the container to end, without its output. A deadline in milliseconds may end it: `None`.
    pub(super) fn wait(&mut self, milliseconds: Option<u64>) -> Result<Option<i32>> {
        let deadline =
            milliseconds.map(|it| std::time::Instant::now() + std::time::Duration::from_millis(it));
        loop {
            while let Some((kind, data)) = self.decoder.next()? {
                if kind == FrameKind::Exited {
                    return frame::json(data).map(Some);
                }
            }
            if !wait_readable(&self.socket, deadline)? {
                return Ok(None);
            }
            if self.decoder.fill(&self.socket).context(|| "cannot hear from the monitor")?
                == Filled::End
            {
                return Err(Error::new(Kind::Unavailable, "the container's monitor has gone"));
            }
        }
    }

    /// Waits until the monitor hangs up: by then it has let go of all that it had of the container.
    /// `false` if the time, in milliseconds, was over before that.
    pub(super) fn wait_closed(&mut self, milliseconds: u64) -> Result<bool> {
        let time = std::time::Duration::from_millis(milliseconds);
        let deadline = std::time::Instant::now() + time;
        loop {
            // Nothing that it has to say counts any more.
            while self.decoder.next()?.is_some() {}
            if !wait_readable(&self.socket, Some(deadline))? {
                return Ok(false);
            }
            match self.decoder.fill(&self.socket) {
                Ok(Filled::End) | Err(_) => return Ok(true),
                Ok(_) => {}
            }
        }
    }

    /// Returns the socket, to wait for it.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Has the monitor probe the container's health; `None` if the container has ended meanwhile.
    pub(super) fn probe(&mut self) -> Result<Option<bool>> {
        let _gone = frame::send(self.socket.as_fd(), FrameKind::Probe, b"");
        loop {
            while let Some((kind, data)) = self.decoder.next()? {
                match kind {
                    FrameKind::Probed => return frame::json(data).map(Some),
                    FrameKind::Exited => return Ok(None),
                    _ => {}
                }
            }
            if self.decoder.fill(&self.socket).context(|| "cannot hear from the monitor")?
                == Filled::End
            {
                return Ok(None);
            }
        }
    }

    /// Tells the monitor not to start the container again.
    pub(super) fn send_stop(&self) {
        let _gone = frame::send(self.socket.as_fd(), FrameKind::Stop, b"");
    }

    /// Tells the monitor that the container was given other limits, or another restart policy.
    pub(super) fn send_update(&self) {
        let _gone = frame::send(self.socket.as_fd(), FrameKind::Update, b"");
    }

    /// Handles one frame: `None` if there is none, `Some(Some(code))` if the container has ended.
    fn next_frame(&mut self, streams: &Streams<'_>) -> Result<Option<Option<i32>>> {
        let Some((kind, data)) = self.decoder.next()? else { return Ok(None) };
        match kind {
            FrameKind::Stdout => write_all(streams.stdout, data)?,
            FrameKind::Stderr => write_all(streams.stderr, data)?,
            FrameKind::Exited => return frame::json(data).map(|code| Some(Some(code))),
            FrameKind::Started => {
                // It was started again: signals go to the new process.
                self.started = frame::json(data)?;
                self.process = process::open(self.started.pid, self.started.start_time)
                    .context(|| "cannot watch the container's process")?;
            }
            _ => {}
        }
        Ok(Some(None))
    }

    /// Queues what the user has typed.
    fn pass_on(&mut self, input: &mut Input<'_>) -> Result<Typed> {
        let (data, typed) = input.read()?;
        if !data.is_empty() {
            frame::append(self.outgoing.buffer(), FrameKind::Stdin, &data);
        }
        if typed == Typed::End {
            frame::append(self.outgoing.buffer(), FrameKind::StdinEnd, b"");
        }
        Ok(typed)
    }

    fn take_signals(&mut self, signals: &Signals, streams: &Streams<'_>) -> Result<()> {
        while let Some(signal) = signals.next().context(|| "cannot read signals")? {
            if signal == libc::SIGWINCH {
                self.queue_size(streams);
            } else if let Some(process) = &self.process {
                // It may have ended meanwhile.
                let _gone = process::send_signal(process, signal);
            }
        }
        Ok(())
    }

    fn queue_size(&mut self, streams: &Streams<'_>) {
        let size = [streams.stdin, streams.stdout].into_iter().flatten().find_map(terminal::size);
        if let (true, Some(size)) = (self.tty, size) {
            frame::append_json(self.outgoing.buffer(), FrameKind::Resize, &size);
        }
    }
}

/// Waits until a socket can be read; `false` if the deadline came first.
fn wait_readable(socket: &OwnedFd, deadline: Option<std::time::Instant>) -> Result<bool> {
    loop {
        let left = match deadline {
            None => None,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(std::time::Instant::now());
                Some(rustix::event::Timespec {
                    tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: left.subsec_nanos().into(),
                })
            }
        };
        let mut files = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut files, left.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context(|| "cannot wait for the monitor"),
        }
    }
}

pub(crate) fn write_all(file: Option<BorrowedFd<'_>>, mut data: &[u8]) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    while !data.is_empty() {
        match rustix::io::write(file, data) {
            Ok(length) => data = &data[length..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                // The descriptor is shared with somebody who made it non-blocking.
                let mut files = [PollFd::from_borrowed_fd(file, PollFlags::OUT)];
                let _interrupted = poll(&mut files, None);
            }
            Err(error) => return Err(error).context(|| "cannot write the container's output"),
        }
    }
    Ok(())
}

/// What reading the user's input led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// There may be more.
    More,
    /// There is no more.
    End,
    /// The user wants to leave.
    DetachKeys,
}

/// The user's input, and how much of the detach keys was typed.
pub(crate) struct Input<'a> {
    pub(crate) stdin: Option<BorrowedFd<'a>>,
    keys: KeyWatch,
}

/// Looks for the detach keys in what a user types.
#[derive(Clone, Debug)]
pub struct KeyWatch {
    keys: Vec<u8>,
    typed: usize,
}

impl<'a> Input<'a> {
    pub(crate) fn new(stdin: Option<BorrowedFd<'a>>, keys: &'a [u8]) -> Self {
        Self { stdin, keys: KeyWatch::new(keys.to_vec()) }
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self) -> Result<(Vec<u8>, Typed)> {
        let Some(stdin) = self.stdin else { return Ok((Vec::new(), Typed::More)) };
        let mut buffer = vec![0; 32 << 10];
        let length = match rustix::io::read(stdin, &mut buffer[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {
                return Ok((Vec::new(), Typed::More));
            }
            // A terminal that is gone.
            Err(rustix::io::Errno::IO) => 0,
            Err(error) => return Err(error).context(|| "cannot read standard input"),
        };
        if length == 0 {
            self.stdin = None;
            return Ok((Vec::new(), Typed::End));
        }
        let (data, detach) = self.keys.strip(&buffer[..length]);
        Ok((data, if detach { Typed::DetachKeys } else { Typed::More }))
    }
}

impl KeyWatch {
    /// Looks for these keys, as bytes; none are found if there are none.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, typed: 0 }
    }

    /// Returns what is passed on, and whether all keys were typed. What may be the beginning of them is held
    /// back.
    pub fn strip(&mut self, data: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (data.to_vec(), false);
        }
        let mut passed = Vec::with_capacity(data.len());
        for byte in data {
            if *byte == self.keys[self.typed] {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.typed]);
            self.typed = usize::from(*byte == self.keys[0] && self.keys.len() > 1);
            if self.typed == 0 {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

impl Engine {
    /// Connects to a running container.
    pub fn attach(&self, id: &ContainerId, attach: &Attach) -> Result<Session> {
        let container = self.repaired(id)?;
        let Some(run) = container.state.run() else {
            return Err(Error::new(Kind::Conflict, "you can only attach to running containers")
                .hint(format!("start it with `barge start {}`", container.state.name)));
        };
        let driver = container.config.settings.log.driver;
        if driver.is_passthrough() {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "this container is using the '{}' log driver, cannot attach: this container is not logging output",
                    driver.as_str()
                ),
            ));
        }
        let signals = catch_signals(attach.proxy_signals)?;
        let session = self.connect(
            id,
            run,
            Hello { output: true, terminal: attach.to_terminal },
            attach.tty,
            Some(signals),
        )?;
        self.record_event(Event::of(&container, Action::Attach));
        Ok(session)
    }

    /// Connects to the monitor of a container that has a process, for who speaks with it in frames.
    pub(crate) fn dial_for_output(&self, container: &Container) -> Result<OwnedFd> {
        let mut greeting = Vec::new();
        let hello = Hello { output: true, terminal: false };
        frame::append_json(&mut greeting, FrameKind::Hello, &hello);
        let socket = self.dial(container.id(), &greeting)?;
        self.record_event(Event::of(container, Action::Attach));
        Ok(socket)
    }

    /// Tells the monitor of a container how large its terminal is, in rows and columns.
    pub fn resize(&self, name: &str, rows: u16, columns: u16) -> Result<()> {
        let container = self.lookup(name)?;
        if container.state.process().is_none() {
            return Err(Error::new(Kind::Conflict, format!("container {name} is not running")));
        }
        let mut greeting = Vec::new();
        frame::append_json(&mut greeting, FrameKind::Hello, &Hello::default());
        frame::append_json(&mut greeting, FrameKind::Resize, &(rows, columns));
        self.dial(container.id(), &greeting).map(drop)
    }

    /// Connects to the monitor of a container.
    pub(super) fn connect(
        &self,
        id: &ContainerId,
        run: &Run,
        hello: Hello,
        tty: bool,
        signals: Option<Signals>,
    ) -> Result<Session> {
        let mut greeting = Vec::new();
        frame::append_json(&mut greeting, FrameKind::Hello, &hello);
        let socket = self.dial(id, &greeting)?;
        let started = Started { pid: run.pid, start_time: run.start_time, warnings: Vec::new() };
        Session::new(socket, Decoder::default(), started, tty, signals)
    }

    /// Connects to the monitor of a container and greets it.
    pub(super) fn dial(&self, id: &ContainerId, greeting: &[u8]) -> Result<OwnedFd> {
        let dir = self.store.containers().run_dir(id);
        let context = || format!("cannot reach the monitor of container {}", id.short());
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .context(context)?;
        let (address, _dir) = socket::address(&dir.join("attach")).context(context)?;
        rustix::net::connect(&socket, &address).context(context)?;
        rustix::net::send(&socket, greeting, rustix::net::SendFlags::NOSIGNAL).context(context)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_detach_keys() {
        for (parts, want, detached) in [
            (vec!["ab"], "ab", false),
            (vec!["a\x10\x11b"], "a", true),
            (vec!["a\x10", "\x11"], "a", true),
            (vec!["\x10b"], "\x10b", false),
            (vec!["\x10\x10\x11"], "\x10", true),
            (vec!["\x10", "b", "\x11"], "\x10b\x11", false),
        ] {
            let mut keys = KeyWatch::new(b"\x10\x11".to_vec());
            let (mut got, mut left) = (Vec::new(), false);
            for part in &parts {
                let (data, detach) = keys.strip(part.as_bytes());
                got.extend(data);
                left |= detach;
            }
            assert_eq!((got, left), (want.as_bytes().to_vec(), detached), "{parts:?}");
        }
    }
}
