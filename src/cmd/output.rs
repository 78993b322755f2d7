//! Everything that barge prints goes through here.
//!
//! Standard output carries what was asked for and nothing else. It is collected and written in large
//! parts; who prints as things happen flushes. Errors, warnings and hints go to standard error at once.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// Bytes that are collected before they are written.
const ENOUGH: usize = 64 * 1024;

/// Standard output; and, for what belongs to neither of us, standard error in order with it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    collected: Vec<u8>,
    /// Whether what was collected goes to standard error.
    is_error: bool,
    reader_gone: bool,
}

impl Output {
    /// Prints a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        self.text(text)?;
        self.bytes(b"\n")
    }

    /// Prints text that brings its own line ends.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.collect(bytes, false)
    }

    /// Prints to standard error what a container wrote to its own.
    pub(crate) fn error_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.collect(bytes, true)
    }

    fn collect(&mut self, bytes: &[u8], is_error: bool) -> Result<()> {
        if is_error != self.is_error {
            self.flush()?;
            self.is_error = is_error;
        }
        self.collected.extend_from_slice(bytes);
        if self.collected.len() < ENOUGH { Ok(()) } else { self.flush() }
    }

    /// Writes what was collected.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let (stream, name) = match self.is_error {
            true => (rustix::stdio::stderr(), "standard error"),
            false => (rustix::stdio::stdout(), "standard output"),
        };
        let written = write_all(stream, &self.collected);
        self.collected.clear();
        written
            .inspect_err(|error| self.reader_gone |= *error == Errno::PIPE)
            .context(|| format!("cannot write to {name}"))
    }

    /// Returns standard output as a stream.
    pub(crate) fn stream(&mut self) -> Stream<'_> {
        Stream(self)
    }

    /// Tells whether the reader of a pipe has gone away: no reason to complain.
    pub(crate) fn reader_gone(&self) -> bool {
        self.reader_gone
    }
}

/// Standard output as a stream.
pub(crate) struct Stream<'a>(&'a mut Output);

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(io::Error::other)
    }
}

/// Prints an error, and the way out where one is known.
pub(crate) fn error(error: &Error) {
    let hint = error.hint_text().map(|hint| format!("Hint: {hint}\n")).unwrap_or_default();
    complain(&format!("Error: {error}\n{hint}"));
}

/// Prints a warning.
pub(crate) fn warning(text: &str) {
    complain(&format!("Warning: {text}\n"));
}

/// Prints a line about what is going on.
pub(crate) fn note(text: &str) {
    complain(&format!("{text}\n"));
}

/// Writes to standard error as it is.
pub(crate) fn complain(text: &str) {
    // There is nobody left to tell when this fails.
    let _ = write_all(rustix::stdio::stderr(), text.as_bytes());
}

fn write_all(to: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            // Somebody who shares the terminal or pipe with us has made it non-blocking.
            Err(Errno::AGAIN) => wait_writable(&to)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_writable(to: impl AsFd) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut waiting = [PollFd::new(&to, PollFlags::OUT)];
    rustix::io::retry_on_intr(|| poll(&mut waiting, None)).map(|_| ())
}
