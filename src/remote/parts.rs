//! The parts of a stream that say which stream of a container they are of.

use std::io::{self, Read};

/// Bytes before each part: its stream, three that are nothing, its length.
const HEADER: usize = 8;

/// Bytes that are read at once.
const PART: usize = 64 << 10;

/// A stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output, and what it was told at its terminal.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Cuts what comes into parts.
#[derive(Debug)]
pub struct Parts {
    is_multiplexed: bool,
    /// What has come and was not taken.
    arrived: Vec<u8>,
    used: usize,
    /// What is left of the part that has begun.
    left: Option<(Stream, usize)>,
}

/// What reading has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// There may be parts now.
    Some,
    /// Nothing is there at the moment.
    Later,
    /// There is nothing more.
    End,
}

impl Parts {
    /// Begins; what is not in parts is all of one stream.
    pub fn new(is_multiplexed: bool) -> Self {
        Self { is_multiplexed, arrived: Vec::new(), used: 0, left: None }
    }

    /// Reads what is there, once.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<Filled> {
        self.arrived.drain(..self.used);
        self.used = 0;
        let before = self.arrived.len();
        self.arrived.resize(before + PART, 0);
        let read = from.read(&mut self.arrived[before..]);
        self.arrived.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Ok(Filled::End),
            Ok(_) => Ok(Filled::Some),
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionReset => Ok(Filled::End),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Filled::Later),
                _ => Err(error),
            },
        }
    }

    /// Returns the next bytes, and whose they are; not more than there are of one part.
    pub fn take(&mut self) -> Option<(Stream, &[u8])> {
        if !self.is_multiplexed {
            let start = std::mem::replace(&mut self.used, self.arrived.len());
            return (start < self.used).then(|| (Stream::Stdout, &self.arrived[start..]));
        }
        loop {
            if let Some((stream, left)) = self.left {
                let start = self.used;
                let length = left.min(self.arrived.len() - start);
                self.used += length;
                self.left = (length < left).then_some((stream, left - length));
                match length {
                    0 if left > 0 => return None,
                    0 => continue,
                    _ => return Some((stream, &self.arrived[start..self.used])),
                }
            }
            let header = self.arrived[self.used..].first_chunk::<HEADER>()?;
            let [kind, _, _, _, a, b, c, d] = *header;
            self.used += HEADER;
            let stream = if kind == 2 { Stream::Stderr } else { Stream::Stdout };
            self.left = Some((stream, u32::from_be_bytes([a, b, c, d]) as usize));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_parts_wherever_reads_end() {
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 3];
        bytes.extend(b"out");
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([2, 0, 0, 0, 0, 0, 0, 5]);
        bytes.extend(b"error");
        for cut in 1..=bytes.len() {
            let (mut out, mut error) = (Vec::new(), Vec::new());
            let mut parts = Parts::new(true);
            for chunk in bytes.chunks(cut) {
                assert_eq!(parts.fill(&mut &chunk[..]).unwrap(), Filled::Some);
                while let Some((stream, data)) = parts.take() {
                    match stream {
                        Stream::Stdout => out.extend_from_slice(data),
                        Stream::Stderr => error.extend_from_slice(data),
                    }
                }
            }
            assert_eq!((&out[..], &error[..]), (&b"out"[..], &b"error"[..]), "reads of {cut}");
        }
        let mut parts = Parts::new(false);
        parts.fill(&mut &bytes[..]).unwrap();
        assert_eq!(parts.take(), Some((Stream::Stdout, &bytes[..])));
        assert_eq!(parts.take(), None);
        assert_eq!(parts.fill(&mut &b""[..]).unwrap(), Filled::End);
    }
}
