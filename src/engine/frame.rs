//! What monitors and their clients tell each other: frames over a stream socket.
//!
//! A frame is a header of eight bytes — its kind, three zeroes, the length of the rest as a big-endian
//! number — and the rest. The kinds of output are those of Docker's attach protocol.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// To the monitor: input for the container.
    Stdin = 0,
    /// From the monitor: the container's output.
    Stdout = 1,
    /// From the monitor: the container's error output.
    Stderr = 2,
    /// To the monitor, first: a [`Hello`].
    Hello = 3,
    /// From the monitor: the container runs; a [`Started`].
    Started = 4,
    /// From the monitor: it could not be started; a [`Failed`].
    Failed = 5,
    /// From the monitor: it has ended; its exit code as JSON.
    Exited = 6,
    /// To the monitor: there is no more input.
    StdinEnd = 7,
    /// To the monitor: rows and columns of the terminal, as JSON.
    Resize = 8,
    /// To the monitor: end a container that waits to be started again.
    Stop = 9,
    /// To the monitor: the record has other limits, or another restart policy.
    Update = 10,
    /// To the monitor: probe the container's health.
    Probe = 11,
    /// From the monitor: whether a probe of the container's health succeeded, as JSON.
    Probed = 12,
    /// To the monitor: let the program of the container run.
    Start = 13,
    /// From the monitor: all is there but the program, which waits for [`Start`](Self::Start); a
    /// [`Started`].
    Initialized = 14,
    /// From the monitor: what this machine mounts for the container is there.
    Mounted = 15,
    /// To the monitor, with the first words: make the processes of the container's checkpoint; a
    /// `RestoreOptions`.
    Restore = 16,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Stdin,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Hello,
            4 => Self::Started,
            5 => Self::Failed,
            6 => Self::Exited,
            7 => Self::StdinEnd,
            8 => Self::Resize,
            9 => Self::Stop,
            10 => Self::Update,
            11 => Self::Probe,
            12 => Self::Probed,
            13 => Self::Start,
            14 => Self::Initialized,
            15 => Self::Mounted,
            16 => Self::Restore,
            _ => return None,
        })
    }
}

/// What a client wants.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Whether it wants the container's output.
    pub(crate) output: bool,
    /// Whether that goes to a terminal.
    #[serde(default)]
    pub(crate) terminal: bool,
}

/// A container that runs, or is about to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Started {
    /// Its first process.
    pub(crate) pid: i32,
    /// When that process started.
    pub(crate) start_time: u64,
    /// What did not go as asked, but was no reason to fail.
    pub(crate) warnings: Vec<String>,
}

/// Why a container could not be started.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failed {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

impl From<&Error> for Failed {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        let error = Self::new(failed.kind, failed.message);
        match failed.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

const HEADER: usize = 8;

/// The longest frame that is taken; ours are far shorter.
const LONGEST: usize = 1 << 20;

/// Appends a frame to a buffer.
pub(crate) fn append(buffer: &mut Vec<u8>, kind: FrameKind, data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&[kind as u8, 0, 0, 0]);
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(data);
}

/// Appends a frame with a value as JSON.
pub(crate) fn append_json<T: Serialize>(buffer: &mut Vec<u8>, kind: FrameKind, value: &T) {
    // Our own plain structures: they have no maps with odd keys, and nothing else can fail.
    if let Ok(data) = serde_json::to_vec(value) {
        append(buffer, kind, &data);
    }
}

/// Writes a whole frame to a socket that waits.
pub(crate) fn send(socket: BorrowedFd<'_>, kind: FrameKind, data: &[u8]) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(HEADER + data.len());
    append(&mut buffer, kind, data);
    let mut rest = &buffer[..];
    while !rest.is_empty() {
        match rustix::net::send(socket, rest, rustix::net::SendFlags::NOSIGNAL) {
            Ok(length) => rest = &rest[length..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    used: usize,
}

/// What reading from the other side led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// There may be frames now.
    Some,
    /// Nothing is there at the moment.
    Later,
    /// The other side is gone.
    End,
}

impl Decoder {
    /// Reads what is there, once.
    pub(crate) fn fill(&mut self, socket: impl AsFd) -> io::Result<Filled> {
        self.buffer.drain(..self.used);
        self.used = 0;
        // What is not filled is not touched: it takes no memory.
        self.buffer.reserve(64 << 10);
        let result = rustix::io::read(socket, rustix::buffer::spare_capacity(&mut self.buffer));
        match result {
            Ok(0) | Err(rustix::io::Errno::CONNRESET) => Ok(Filled::End),
            Ok(_) => Ok(Filled::Some),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Filled::Later),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<(FrameKind, &[u8])>> {
        let rest = &self.buffer[self.used..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [kind, _, _, _, a, b, c, d] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let damaged = || Error::new(Kind::Internal, "the monitor's socket carries nonsense");
        let kind = FrameKind::from_byte(kind).ok_or_else(damaged)?;
        if length > LONGEST {
            return Err(damaged());
        }
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.used + HEADER;
        self.used = start + length;
        Ok(Some((kind, &self.buffer[start..self.used])))
    }
}

/// Reads the JSON that a frame carries.
pub(crate) fn json<T: DeserializeOwned>(data: &[u8]) -> Result<T> {
    serde_json::from_slice(data).context(|| "the monitor's socket carries nonsense")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_frames_wherever_reads_end() {
        let mut bytes = Vec::new();
        append(&mut bytes, FrameKind::Stdout, b"hello");
        append(&mut bytes, FrameKind::StdinEnd, b"");
        append_json(&mut bytes, FrameKind::Exited, &7);
        for cut in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for part in bytes.chunks(cut) {
                decoder.buffer.drain(..decoder.used);
                decoder.used = 0;
                decoder.buffer.extend_from_slice(part);
                while let Some((kind, data)) = decoder.next().unwrap() {
                    found.push((kind, data.to_vec()));
                }
            }
            let want = [
                (FrameKind::Stdout, b"hello".to_vec()),
                (FrameKind::StdinEnd, Vec::new()),
                (FrameKind::Exited, b"7".to_vec()),
            ];
            assert_eq!(found, want, "reads of {cut}");
        }
    }

    #[test]
    fn refuses_nonsense() {
        for bytes in [[77, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 255, 255, 255, 255]] {
            let mut decoder = Decoder { buffer: bytes.to_vec(), used: 0 };
            assert!(decoder.next().is_err());
        }
    }
}
