//! Lines from the journal of systemd, as its own program reads them out.
//!
//! It prints entries in the journal's export format: `NAME=VALUE` on a line, or `NAME` on a line, the
//! length of the value in eight bytes, the value, and a line end; an empty line ends the entry. One
//! that follows never says that there is no more, so when the container has ended, another one reads
//! what is left.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdout, Command, Stdio};

use memchr::memchr;

use super::{LogLine, LogOptions, LogStream, Source};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::time;
use crate::sys::command::die_with_us;
use crate::sys::socket;

/// The program.
const PROGRAM: &str = "journalctl";

/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// The lines of a container in the journal.
#[derive(Debug)]
pub(super) struct Journal {
    id: ContainerId,
    options: LogOptions,
    reader: Option<Reader>,
    bytes: Vec<u8>,
    used: usize,
    entry: Entry,
}

/// The program at work.
#[derive(Debug)]
struct Reader {
    child: Child,
    output: ChildStdout,
    follows: bool,
}

/// An entry of the journal, as far as it matters.
#[derive(Debug, Default)]
struct Entry {
    cursor: Option<String>,
    text: Vec<u8>,
    time: String,
    is_error: bool,
    is_part: bool,
}

impl Journal {
    /// Begins to read.
    pub(super) fn new(id: &ContainerId, options: &LogOptions) -> Result<Self> {
        let mut journal = Self {
            id: id.clone(),
            options: options.clone(),
            reader: None,
            bytes: Vec::new(),
            used: 0,
            entry: Entry::default(),
        };
        sync();
        if let Some(tail) = options.tail {
            journal.skip_all_but(tail)?;
        }
        journal.begin(options.follow, &[])?;
        Ok(journal)
    }

    /// Finds the entry after which there are only so many lines.
    fn skip_all_but(&mut self, tail: u64) -> Result<()> {
        self.begin(false, &["--reverse"])?;
        let mut whole = 0;
        while self.advance()? {
            whole += u64::from(!self.entry.is_part);
            if whole > tail {
                self.stop();
                return Ok(());
            }
        }
        // There are no more than that.
        self.entry.cursor = None;
        Ok(())
    }

    /// Starts the program, to read what comes after the present entry.
    fn begin(&mut self, follow: bool, flags: &[&str]) -> Result<()> {
        self.stop();
        let mut command = Command::new(PROGRAM);
        command.args(["--quiet", "--no-pager", "--all", "--output=export"]);
        command.arg("--output-fields=MESSAGE,PRIORITY,SYSLOG_TIMESTAMP,CONTAINER_PARTIAL_MESSAGE");
        command.args(flags);
        if follow {
            command.args(["--follow", "--no-tail"]);
        }
        if let Some(cursor) = &self.entry.cursor {
            command.arg(format!("--after-cursor={cursor}"));
        } else if let Some(since) = self.options.since {
            // Whole seconds are enough: each line is looked at again.
            command.arg(format!("--since=@{}", since.div_euclid(1_000_000_000)));
        }
        command.arg(format!("CONTAINER_ID_FULL={}", self.id));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = die_with_us(&mut command).spawn().map_err(not_started)?;
        let Some(output) = child.stdout.take() else { return Ok(()) };
        if follow {
            socket::set_nonblocking(&output).context(|| "cannot read the journal")?;
        }
        self.reader = Some(Reader { child, output, follows: follow });
        Ok(())
    }

    /// Ends the program and forgets what it has said beyond the present entry.
    fn stop(&mut self) {
        self.bytes.clear();
        self.used = 0;
        if let Some(mut reader) = self.reader.take() {
            // It may have ended by itself.
            drop(reader.child.kill());
            drop(reader.child.wait());
        }
    }

    /// Takes the next entry from what was read, if it is there as a whole.
    fn take(&mut self) -> bool {
        let Some((entry, length)) = parse(&self.bytes[self.used..]) else { return false };
        self.entry = entry;
        self.used += length;
        true
    }

    /// Finds out whether the program that has said all has said it in peace.
    fn end(&mut self) -> Result<()> {
        let Some(mut reader) = self.reader.take() else { return Ok(()) };
        let mut complaints = String::new();
        if let Some(errors) = &mut reader.child.stderr {
            // What it complains about is of use only if it is text.
            drop(errors.read_to_string(&mut complaints));
        }
        let status = reader.child.wait().context(|| format!("cannot wait for {PROGRAM}"))?;
        let complaints = complaints.trim();
        if status.success() || complaints.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Unavailable, format!("{PROGRAM} failed: {complaints}")))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Source for Journal {
    fn advance(&mut self) -> Result<bool> {
        loop {
            if self.take() {
                return Ok(true);
            }
            let Some(reader) = &mut self.reader else { return Ok(false) };
            self.bytes.drain(..self.used);
            self.used = 0;
            let before = self.bytes.len();
            self.bytes.resize(before + READ, 0);
            let result = reader.output.read(&mut self.bytes[before..]);
            self.bytes.truncate(before + *result.as_ref().unwrap_or(&0));
            match result {
                Ok(0) => {
                    self.end()?;
                    return Ok(false);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context(|| "cannot read the journal"),
            }
        }
    }

    fn line(&self) -> LogLine<'_> {
        LogLine {
            time: &self.entry.time,
            stream: if self.entry.is_error { LogStream::Stderr } else { LogStream::Stdout },
            whole: !self.entry.is_part,
            text: &self.entry.text,
        }
    }

    fn news(&self) -> Option<BorrowedFd<'_>> {
        self.reader.as_ref().filter(|reader| reader.follows).map(|reader| reader.output.as_fd())
    }

    fn nothing_follows(&mut self) -> Result<()> {
        sync();
        self.begin(false, &[])
    }
}

fn not_started(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::new(
            Kind::Unavailable,
            format!("cannot read the journal: there is no program {PROGRAM}"),
        )
        .hint("it is in the package systemd"),
        _ => Error::new(Kind::Unavailable, format!("cannot start {PROGRAM}")).caused_by(error),
    }
}

/// Has the journal write down what is still on its way to it.
fn sync() {
    let mut command = Command::new(PROGRAM);
    command.arg("--sync").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Only root may ask for it; others see the last lines a moment later.
    drop(command.status());
}

/// Takes the first entry apart; returns it and its length, or nothing if it is not there as a whole.
fn parse(bytes: &[u8]) -> Option<(Entry, usize)> {
    let mut entry = Entry::default();
    let mut received = None;
    let mut at = 0;
    loop {
        let end = at + memchr(b'\n', &bytes[at..])?;
        let line = &bytes[at..end];
        at = end + 1;
        if line.is_empty() {
            break;
        }
        let (name, value) = match memchr(b'=', line) {
            Some(equals) => (&line[..equals], &line[equals + 1..]),
            None => {
                let (length, rest) = bytes[at..].split_first_chunk::<8>()?;
                let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
                let value = rest.get(..length)?;
                rest.get(length)?;
                at += 8 + length + 1;
                (line, value)
            }
        };
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"__CURSOR" => entry.cursor = Some(text()),
            b"__REALTIME_TIMESTAMP" => received = text().parse::<i64>().ok(),
            b"SYSLOG_TIMESTAMP" => entry.time = text(),
            b"MESSAGE" => entry.text = value.to_vec(),
            b"PRIORITY" => entry.is_error = value == b"3",
            b"CONTAINER_PARTIAL_MESSAGE" => entry.is_part = value == b"true",
            _ => {}
        }
    }
    if time::parse_rfc3339(&entry.time).is_none() {
        // Microseconds since 1970.
        entry.time = time::rfc3339(received.unwrap_or_default().saturating_mul(1000));
    }
    Some((entry, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_entries_apart() {
        let mut bytes = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1000001\nPRIORITY=3\n".to_vec();
        bytes.extend_from_slice(
            b"MESSAGE\n\x05\0\0\0\0\0\0\0a\n\nb\n\nCONTAINER_PARTIAL_MESSAGE=true\n",
        );
        let first = bytes.len() + 1;
        bytes.extend_from_slice(
            b"\n__CURSOR=3\nSYSLOG_TIMESTAMP=2026-01-01T00:00:00Z\nMESSAGE=x=y\n\n",
        );
        // It does not matter where a read ends.
        for end in 0..first {
            assert!(parse(&bytes[..end]).is_none(), "{end}");
        }
        let (entry, length) = parse(&bytes).unwrap();
        assert_eq!(length, first);
        assert_eq!(entry.cursor.as_deref(), Some("s=1;i=2"));
        assert_eq!(entry.text, b"a\n\nb\n");
        assert_eq!(entry.time, "1970-01-01T00:00:01.000001000Z");
        assert!(entry.is_error && entry.is_part);
        let (entry, length) = parse(&bytes[first..]).unwrap();
        assert_eq!(first + length, bytes.len());
        assert_eq!(
            (entry.text.as_slice(), entry.time.as_str()),
            (&b"x=y"[..], "2026-01-01T00:00:00Z")
        );
        assert!(!entry.is_error && !entry.is_part);
    }
}
