//! The hashes of streams that come at the same time, which are made of two of them at once.
//!
//! Two streams together take hardly longer than one (`sys::sha256`). So what has come of a stream may wait
//! until there is something of another one, or more of its own. Whoever comes next does the work.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::sys::sha256::Sha256;

/// Buffers of one stream that may wait. Another is hashed alone, or waits for the one that works on them.
pub(crate) const MOST_WAITING: usize = 4;

/// All streams of this process.
static STREAMS: Mutex<Streams> = Mutex::new(Streams { all: Vec::new(), next: 0 });
/// Tells that somebody has hashed what was waiting.
static DONE: Condvar = Condvar::new();

struct Streams {
    all: Vec<Stream>,
    next: u64,
}

struct Stream {
    number: u64,
    /// `None` while somebody works on it.
    hash: Option<Sha256>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    buffer: Arc<Buffer>,
    /// Bytes that are in the hash already.
    done: usize,
}

/// What somebody works on.
struct Work {
    number: u64,
    hash: Sha256,
    buffer: Arc<Buffer>,
    done: usize,
}

/// Bytes that go back to where they came from when nobody needs them any more.
#[derive(Debug)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    /// Where it goes then.
    returned: Sender<Vec<u8>>,
}

impl Buffer {
    /// Lends bytes to several.
    pub(crate) fn new(data: Vec<u8>, returned: Sender<Vec<u8>>) -> Arc<Self> {
        Arc::new(Self { data, returned })
    }

    /// Returns the bytes.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Who made it may need no more of them.
        drop(self.returned.send(std::mem::take(&mut self.data)));
    }
}

/// The hash of a stream, which is made sooner or later.
#[derive(Debug)]
pub(crate) struct Hashing {
    number: u64,
}

impl Hashing {
    /// Begins the hash of a stream.
    pub(crate) fn begin() -> Self {
        let mut streams = streams();
        let number = streams.next;
        streams.next += 1;
        let hash = Some(Sha256::default());
        streams.all.push(Stream { number, hash, waiting: VecDeque::new() });
        Self { number }
    }

    /// Adds what is in a buffer.
    pub(crate) fn add(&mut self, buffer: &Arc<Buffer>) {
        let mut streams = streams();
        let waiting = Waiting { buffer: Arc::clone(buffer), done: 0 };
        streams.get(self.number).waiting.push_back(waiting);
        loop {
            let own = streams.get(self.number);
            let is_busy = own.hash.is_none();
            match own.waiting.len() {
                0 => return,
                1..=MOST_WAITING if is_busy => return,
                _ if is_busy => {
                    streams = wait(streams);
                    continue;
                }
                // Alone it takes no longer later than now.
                1..=MOST_WAITING if !streams.has_other(self.number) => return,
                _ => {}
            }
            let Some(own) = streams.take(|number| number == self.number) else { return };
            let partner = streams.take(|_| true);
            streams = work(streams, own, partner);
        }
    }

    /// Returns the hash of all that was added.
    pub(crate) fn finish(self) -> [u8; 32] {
        let mut streams = streams();
        loop {
            if let Some(own) = streams.take(|number| number == self.number) {
                let partner = streams.take(|_| true);
                streams = work(streams, own, partner);
            } else if let Some(done) = streams.get(self.number).hash.take() {
                drop(streams);
                return done.finish();
            } else {
                streams = wait(streams);
            }
        }
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        streams().all.retain(|stream| stream.number != self.number);
    }
}

/// Adds bytes to the hash of another stream at once, together with what waits.
pub(crate) fn update(hash: &mut Sha256, mut data: &[u8]) {
    while !data.is_empty() {
        let Some(mut partner) = streams().take(|_| true) else { return hash.update(data) };
        let (now, later) = data.split_at(data.len().min(partner.left().len()));
        partner.advance_with(hash, now);
        streams().give_back(partner);
        data = later;
    }
}

fn streams() -> MutexGuard<'static, Streams> {
    STREAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(streams: MutexGuard<'static, Streams>) -> MutexGuard<'static, Streams> {
    DONE.wait(streams).unwrap_or_else(PoisonError::into_inner)
}

/// Hashes what was taken, of two as much as both have, and gives it back.
fn work(
    streams: MutexGuard<'static, Streams>,
    mut own: Work,
    mut partner: Option<Work>,
) -> MutexGuard<'static, Streams> {
    drop(streams);
    match &mut partner {
        Some(partner) => {
            let count = own.left().len().min(partner.left().len());
            let buffer = Arc::clone(&own.buffer);
            partner.advance_with(&mut own.hash, &buffer.data[own.done..own.done + count]);
            own.done += count;
        }
        None => {
            own.hash.update(&own.buffer.data[own.done..]);
            own.done = own.buffer.data.len();
        }
    }
    let mut streams = self::streams();
    [Some(own), partner].into_iter().flatten().for_each(|work| streams.give_back(work));
    streams
}

impl Work {
    /// Returns what is not in the hash yet.
    fn left(&self) -> &[u8] {
        &self.buffer.data[self.done..]
    }

    /// Hashes as many bytes as are added to another hash.
    fn advance_with(&mut self, other: &mut Sha256, data: &[u8]) {
        let end = self.done + data.len();
        let own = &self.buffer.data[self.done..end];
        Sha256::update_both((&mut self.hash, own), (other, data));
        self.done = end;
    }
}

impl Streams {
    /// Returns a stream that has not ended.
    fn get(&mut self, number: u64) -> &mut Stream {
        let found = self.all.iter_mut().find(|stream| stream.number == number);
        found.expect("it is removed by the end of its `Hashing` only")
    }

    /// Tells whether there is work on other streams.
    fn has_other(&self, number: u64) -> bool {
        let waits = |stream: &Stream| stream.hash.is_some() && !stream.waiting.is_empty();
        self.all.iter().any(|stream| stream.number != number && waits(stream))
    }

    /// Takes the next of what waits of a stream that nobody works on.
    fn take(&mut self, is_wanted: impl Fn(u64) -> bool) -> Option<Work> {
        self.all.iter_mut().filter(|stream| is_wanted(stream.number)).find_map(|stream| {
            let Waiting { buffer, done } = stream.waiting.front()?;
            let (buffer, done) = (Arc::clone(buffer), *done);
            Some(Work { number: stream.number, hash: stream.hash.take()?, buffer, done })
        })
    }

    fn give_back(&mut self, work: Work) {
        // It may have been given up meanwhile.
        if let Some(stream) = self.all.iter_mut().find(|stream| stream.number == work.number) {
            stream.hash = Some(work.hash);
            match stream.waiting.front_mut() {
                Some(front) if work.done < front.buffer.data.len() => front.done = work.done,
                _ => drop(stream.waiting.pop_front()),
            }
            DONE.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use sha2::Digest as _;

    use super::*;

    #[test]
    fn hashes_of_streams_that_come_at_once_are_their_own() {
        let (returned, empty) = channel();
        thread::scope(|scope| {
            for seed in 0..4_usize {
                let returned = returned.clone();
                scope.spawn(move || {
                    let data: Vec<u8> =
                        (0..600_000 + seed * 77).map(|at| (at * (seed + 3) / 7) as u8).collect();
                    let want: [u8; 32] = sha2::Sha256::digest(&data).into();
                    let mut given_up = Hashing::begin();
                    let (mut later, mut now) = (Hashing::begin(), Sha256::default());
                    let mut left = data.as_slice();
                    let mut length = 1;
                    while !left.is_empty() {
                        let (piece, rest) = left.split_at(left.len().min(length));
                        let buffer = Buffer::new(piece.to_vec(), returned.clone());
                        later.add(&buffer);
                        given_up.add(&buffer);
                        update(&mut now, piece);
                        length = (length * 5 + seed) % 70_000;
                        left = rest;
                    }
                    drop(given_up);
                    assert_eq!(now.finish(), want, "at once, {seed}");
                    assert_eq!(later.finish(), want, "later, {seed}");
                });
            }
        });
        drop(returned);
        assert_eq!(empty.iter().map(|buffer| buffer.len()).sum::<usize>(), 2_400_462);
    }
}
