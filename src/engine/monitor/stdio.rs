//! The container's standard streams, as the monitor holds them: pipes or a terminal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::log::Stream;
use crate::engine::outgoing::Outgoing;
use crate::runtime::Stdio;
use crate::sys::process::Passed;
use crate::sys::{socket, terminal};

/// Bytes that the pipe of an output holds that is read in large pieces, so that who writes need not
/// wait for us at each of them. As large as anybody may make it.
const WIDE: usize = 1 << 20;

/// Input that the container has not taken yet; beyond it, clients are not read.
const MOST_PENDING: usize = 256 << 10;

/// The monitor's ends of a container's streams.
#[derive(Debug)]
pub(super) struct Streams {
    input: Option<OwnedFd>,
    pending: Outgoing,
    end_after_pending: bool,
    outputs: Vec<Output>,
    terminal: bool,
}

/// Our end of one of the outputs.
#[derive(Debug)]
struct Output {
    stream: Stream,
    file: OwnedFd,
    /// Whether its pipe holds as much as it can.
    is_wide: bool,
}

/// The container's ends.
#[derive(Debug)]
pub(super) struct Ends {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Ends {
    /// Gives the pipes to a user, so that the root of a user namespace may open them by their names.
    pub(super) fn give_to(&self, (uid, gid): (u32, u32)) -> io::Result<()> {
        use rustix::fs::{FileType, Gid, Uid, fchown, fstat};
        for file in [&self.stdin, &self.stdout, &self.stderr] {
            if FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::Fifo {
                fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            }
        }
        Ok(())
    }

    /// The three descriptors of its first process.
    pub(super) fn stdio(&self) -> Stdio<'_> {
        Stdio {
            stdin: self.stdin.as_fd(),
            stdout: self.stdout.as_fd(),
            stderr: self.stderr.as_fd(),
        }
    }
}

impl Streams {
    /// Makes pipes; without `interactive`, input is /dev/null.
    pub(super) fn pipes(interactive: bool) -> io::Result<(Self, Ends)> {
        let (stdout, their_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, their_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let (their_stdin, stdin) = if interactive {
            let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
            socket::set_nonblocking(&ours)?;
            (theirs, Some(ours))
        } else {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            (rustix::fs::open("/dev/null", flags, Mode::empty())?, None)
        };
        for ours in [&stdout, &stderr] {
            socket::set_nonblocking(ours)?;
        }
        let streams = Self {
            input: stdin,
            pending: Outgoing::default(),
            end_after_pending: false,
            outputs: vec![
                Output { stream: Stream::Stdout, file: stdout, is_wide: false },
                Output { stream: Stream::Stderr, file: stderr, is_wide: false },
            ],
            terminal: false,
        };
        let ends = Ends { stdin: their_stdin, stdout: their_stdout, stderr: their_stderr };
        Ok((streams, ends))
    }

    /// Passes on the standard streams of who started the container; what there is not of them is
    /// /dev/null. The monitor has no part in them.
    pub(super) fn passthrough(standard: &[Passed]) -> io::Result<(Self, Ends)> {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let copy = |number: i32| {
            let passed = standard.iter().find(|it| it.number == number);
            passed.map_or(&null, |passed| &passed.file).try_clone()
        };
        let streams = Self {
            input: None,
            pending: Outgoing::default(),
            end_after_pending: false,
            outputs: Vec::new(),
            terminal: false,
        };
        Ok((streams, Ends { stdin: copy(0)?, stdout: copy(1)?, stderr: copy(2)? }))
    }

    /// Takes the master side of a terminal.
    pub(super) fn terminal(master: OwnedFd) -> io::Result<Self> {
        socket::set_nonblocking(&master)?;
        let input = master.try_clone()?;
        Ok(Self {
            input: Some(input),
            pending: Outgoing::default(),
            end_after_pending: false,
            outputs: vec![Output { stream: Stream::Stdout, file: master, is_wide: true }],
            terminal: true,
        })
    }

    /// The master side of the terminal, if there is one.
    pub(super) fn master(&self) -> Option<BorrowedFd<'_>> {
        self.outputs.first().filter(|_| self.terminal).map(|output| output.file.as_fd())
    }

    /// The outputs that are still open.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        self.outputs.iter().map(|output| (output.stream, output.file.as_fd()))
    }

    /// The input, while something waits to be written to it.
    pub(super) fn waiting_input(&self) -> Option<BorrowedFd<'_>> {
        self.input.as_ref().filter(|_| !self.pending.is_empty()).map(OwnedFd::as_fd)
    }

    /// Tells whether clients should keep their input for now.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() > MOST_PENDING
    }

    /// Reads once from an output; `None` if nothing is there. An output that has ended is closed.
    pub(super) fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> Option<usize> {
        let index = self.outputs.iter().position(|it| it.stream == stream)?;
        let output = &mut self.outputs[index];
        loop {
            match rustix::io::read(&output.file, &mut *buffer) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                // A terminal whose last user is gone fails with EIO.
                Ok(0) | Err(_) => {
                    self.outputs.remove(index);
                    return None;
                }
                Ok(length) => {
                    if length == buffer.len() && !output.is_wide {
                        // A user may have only so much of it; then it stays as it is.
                        let _size = rustix::pipe::fcntl_setpipe_size(&output.file, WIDE);
                        output.is_wide = true;
                    }
                    return Some(length);
                }
            }
        }
    }

    /// Takes input for the container.
    pub(super) fn input(&mut self, data: &[u8]) {
        if self.input.is_some() {
            self.pending.buffer().extend_from_slice(data);
            self.flush();
        }
    }

    /// Ends the input once all of it is written. A terminal's input has no end.
    pub(super) fn end_input(&mut self) {
        if !self.terminal {
            self.end_after_pending = true;
            self.flush();
        }
    }

    /// Writes what the container takes.
    pub(super) fn flush(&mut self) {
        let Some(input) = &self.input else { return };
        // An error means that nobody reads it any more.
        let refused = self.pending.flush(input).is_err();
        if refused || (self.end_after_pending && self.pending.is_empty()) {
            self.input = None;
        }
    }

    /// Sets the size of the terminal; without one there is nothing to set.
    pub(super) fn resize(&self, rows: u16, columns: u16) {
        if let Some(master) = self.master() {
            let _gone = terminal::set_size(master, rows, columns);
        }
    }
}
