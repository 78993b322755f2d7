//! Bytes on their way to somebody who may not take them at once.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

/// What was sent already is thrown away once it is this much.
const WORTH_MOVING: usize = 64 << 10;

/// Bytes that wait to be written to a descriptor that does not block.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// The buffer, to append to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Tells whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }

    /// Writes what the other side takes now. An error means that it takes nothing any more.
    pub(crate) fn flush(&mut self, file: impl AsFd) -> io::Result<()> {
        while !self.is_empty() {
            match rustix::io::write(&file, &self.bytes[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    self.clear();
                    return Err(error.into());
                }
            }
        }
        if self.is_empty() || self.sent >= WORTH_MOVING {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn keeps_what_is_not_taken() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let data: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut outgoing = Outgoing::default();
        outgoing.buffer().extend_from_slice(&data);
        let mut reader = std::fs::File::from(reader);
        let mut got = Vec::new();
        let mut part = vec![0; 50_000];
        while got.len() < data.len() {
            outgoing.flush(&writer).unwrap();
            let length = reader.read(&mut part).unwrap();
            got.extend_from_slice(&part[..length]);
            assert!(outgoing.len() <= data.len() - got.len());
        }
        assert!(outgoing.is_empty());
        assert_eq!(got, data);
        drop(reader);
        outgoing.buffer().push(1);
        assert!(outgoing.flush(&writer).is_err());
        assert!(outgoing.is_empty());
    }
}
