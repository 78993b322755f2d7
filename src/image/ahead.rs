//! Reads a stream in a thread of its own, ahead of who needs it.
//!
//! Decompressing takes a processor, and so do hashing and writing what comes out. Buffers of a fixed
//! number go round between the two, so memory does not depend on the stream.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Large enough that handing over costs nothing, small enough for the processor's cache.
const BUFFER: usize = 128 << 10;
/// Buffers that are full and not yet read.
const MOST_AHEAD: usize = 8;

/// Lets a stream be read ahead of `consume`. If that stops early, so does the reading.
pub(crate) fn read_ahead<T>(input: impl Read + Send, consume: impl FnOnce(&mut Ahead) -> T) -> T {
    let (full, arriving) = sync_channel(MOST_AHEAD);
    let (returned, empty) = channel();
    thread::scope(|scope| {
        scope.spawn(move || fill(input, &full, &empty));
        // Gone when this returns: the thread ends, also after a failure.
        let mut ahead = Ahead { arriving, returned, buffer: Vec::new(), position: 0, ended: false };
        consume(&mut ahead)
    })
}

/// A stream that is read ahead.
pub(crate) struct Ahead {
    arriving: Receiver<io::Result<Vec<u8>>>,
    returned: Sender<Vec<u8>>,
    buffer: Vec<u8>,
    position: usize,
    ended: bool,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.buffer.len() && !self.ended {
            // Nobody fills buffers any more when the stream has ended.
            drop(self.returned.send(std::mem::take(&mut self.buffer)));
            self.position = 0;
            match self.arriving.recv() {
                Ok(filled) => self.buffer = filled?,
                // Its end is told by a buffer without bytes; without one it was cut off.
                Err(_) => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        self.ended |= self.buffer.is_empty();
        let length = (&self.buffer[self.position..]).read(buffer)?;
        self.position += length;
        Ok(length)
    }
}

/// Fills buffers until the stream ends, or nobody wants any more.
fn fill(mut input: impl Read, full: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut buffer = empty.try_recv().unwrap_or_default();
        buffer.resize(BUFFER, 0);
        let filled = fill_one(&mut input, &mut buffer).map(|filled| {
            buffer.truncate(filled);
            buffer
        });
        let is_last = filled.as_ref().map_or(true, Vec::is_empty);
        if full.send(filled).is_err() || is_last {
            return;
        }
    }
}

fn fill_one(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_comes() {
        for size in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 40 * BUFFER + 7] {
            let data: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let mut got = Vec::new();
            read_ahead(data.as_slice(), |ahead| {
                ahead.read_to_end(&mut got).unwrap();
                assert_eq!(ahead.read(&mut [0]).unwrap(), 0, "the end stays the end");
            });
            assert!(got == data, "{size} bytes");
        }
    }

    #[test]
    fn failures_come_in_their_place() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("no more"))
            }
        }
        let mut got = Vec::new();
        let data = vec![1; 2 * BUFFER];
        let error = read_ahead(data.as_slice().chain(Broken), |ahead| ahead.read_to_end(&mut got));
        assert_eq!(error.unwrap_err().to_string(), "no more");
        assert_eq!(got.len(), 2 * BUFFER);
    }

    #[test]
    fn nobody_has_to_read_all() {
        let first = read_ahead(io::repeat(7), |ahead| {
            let mut first = [0; 3];
            ahead.read_exact(&mut first).map(|()| first)
        });
        assert_eq!(first.unwrap(), [7; 3]);
    }
}
