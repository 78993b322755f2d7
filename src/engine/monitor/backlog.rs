//! What a client has not taken yet: some of it in memory, and of one that has stopped taking, the rest
//! in a file without a name, which is gone with us.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::engine::outgoing::Outgoing;

/// Bytes that wait in memory at most, but for what has to go before all else.
pub(super) const MOST_IN_MEMORY: usize = 256 << 10;

/// Bytes that come from the file at once.
const CHUNK: usize = 64 << 10;

/// Who has taken nothing for so long has stopped.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes on their way to a client.
#[derive(Debug)]
pub(super) struct Backlog {
    memory: Outgoing,
    file: Option<File>,
    /// What of the file was written, and what was read again.
    written: u64,
    read: u64,
    /// When the client last took something.
    taken: Instant,
    /// Whether the file cannot be used: the disk is full, say.
    broken: bool,
}

impl Backlog {
    /// Makes an empty one.
    pub(super) fn new() -> Self {
        Self {
            memory: Outgoing::default(),
            file: None,
            written: 0,
            read: 0,
            taken: Instant::now(),
            broken: false,
        }
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> u64 {
        self.memory.len() as u64 + (self.written - self.read)
    }

    /// Tells whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells whether the client takes something now and then.
    pub(super) fn is_moving(&self) -> bool {
        self.taken.elapsed() < PATIENCE
    }

    /// Tells whether more could only wait in memory.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Adds bytes. They go into memory, unless some before them are in the file.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.written == self.read || self.write(bytes).is_err() {
            self.memory.buffer().extend_from_slice(bytes);
        }
    }

    /// Adds bytes, to a file in `dir` if much waits already.
    pub(super) fn push_to_file(&mut self, bytes: &[u8], dir: &Path) {
        if self.memory.len() > MOST_IN_MEMORY && self.file.is_none() && !self.broken {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let made = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR);
            self.broken = made.is_err();
            self.file = made.ok().map(File::from);
        }
        let full = self.memory.len() > MOST_IN_MEMORY && self.file.is_some();
        if !(full && self.write(bytes).is_ok()) {
            self.push(bytes);
        }
    }

    /// Appends to the file. What cannot be written leaves nothing behind.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| !self.broken) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let done = file.write_all_at(bytes, self.written);
        match &done {
            Ok(()) => self.written += bytes.len() as u64,
            Err(_) => self.broken = true,
        }
        done
    }

    /// Sends what the other side takes now. An error means that it takes nothing any more.
    pub(super) fn flush(&mut self, socket: impl AsFd) -> io::Result<()> {
        loop {
            let before = self.memory.len();
            self.memory.flush(&socket)?;
            if before == 0 || self.memory.len() < before {
                self.taken = Instant::now();
            }
            if !self.memory.is_empty() || !self.read_again()? {
                return Ok(());
            }
        }
    }

    /// Brings more from the file to memory; `false` if there is none.
    fn read_again(&mut self) -> io::Result<bool> {
        let Some(file) = self.file.as_ref().filter(|_| self.read < self.written) else {
            return Ok(false);
        };
        let left = usize::try_from(self.written - self.read).unwrap_or(CHUNK);
        let buffer = self.memory.buffer();
        let start = buffer.len();
        buffer.resize(start + left.min(CHUNK), 0);
        file.read_exact_at(&mut buffer[start..], self.read)?;
        self.read += left.min(CHUNK) as u64;
        if self.read == self.written {
            // All disk space is given back.
            self.file = None;
            (self.read, self.written) = (0, 0);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn nothing_is_lost_and_the_order_stays() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let mut reader = File::from(reader);
        let dir = std::env::temp_dir();
        let mut backlog = Backlog::new();
        let (mut want, mut got) = (Vec::new(), Vec::new());
        let mut part = vec![0; 50_000];
        for round in 0..400_u32 {
            let bytes: Vec<u8> =
                (0..1000).flat_map(|at| (round * 1000 + at).to_le_bytes()).collect();
            if round % 10 == 9 {
                // Words between the output, which never wait for the file to be empty.
                backlog.push(&bytes);
            } else {
                backlog.push_to_file(&bytes, &dir);
            }
            want.extend_from_slice(&bytes);
            backlog.flush(&writer).unwrap();
            assert!(backlog.memory.len() <= MOST_IN_MEMORY + 2 * bytes.len());
            if round % 50 == 49 {
                let length = reader.read(&mut part).unwrap();
                got.extend_from_slice(&part[..length]);
            }
        }
        assert!(backlog.file.is_some());
        while got.len() < want.len() {
            backlog.flush(&writer).unwrap();
            let length = reader.read(&mut part).unwrap();
            got.extend_from_slice(&part[..length]);
        }
        assert!(got == want && backlog.is_empty() && backlog.file.is_none());
    }
}
