//! Compresses a stream on several threads, in blocks: what comes out is the same for any number of them.
//!
//! gzip: one member. Each block is compressed with the end of the one before as its dictionary, and ends
//! at a whole byte, so the results can be put together. zstd: a frame for each block.
//!
//! As many blocks are under way as keep all threads busy; memory does not depend on the stream.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Crc, FlushCompress};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::compression::Compression;

/// More would need much memory, and write faster than disks do.
const MOST_THREADS: usize = 6;
/// Blocks that are read and not yet written, besides one for each thread.
const AHEAD: usize = 2;
/// As far back as deflate looks.
const WINDOW: usize = 32 << 10;
/// The head of a gzip member that says nothing of time, name and system.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// A last block of deflate that is empty.
const GZIP_END: [u8; 2] = [3, 0];

/// A block on its way to a thread.
struct Job {
    data: Vec<u8>,
    /// What came before it.
    dictionary: Vec<u8>,
    done: SyncSender<Result<Block>>,
}

/// A block on its way back.
struct Block {
    packed: Vec<u8>,
    /// The bytes that it was made of, to be used again.
    data: Vec<u8>,
    crc: Crc,
}

/// Compresses a stream; `write` gets the result piece by piece.
pub(crate) fn pack(
    input: &mut dyn Read,
    compression: Compression,
    level: i32,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let size = match compression {
        Compression::None => return copy(input, write),
        Compression::Gzip => 256 << 10,
        Compression::Zstd => 2 << 20,
        Compression::Bzip2 | Compression::Xz => {
            return Err(Error::new(
                Kind::Unsupported,
                format!("compressing by {compression} is not supported"),
            ));
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from).min(MOST_THREADS);
    let (jobs, taken) = sync_channel(threads + AHEAD);
    let taken = Mutex::new(taken);
    thread::scope(|scope| {
        for _ in 0..threads {
            let taken = &taken;
            scope.spawn(move || work(taken, compression, level));
        }
        // Owned here: the threads end when it is dropped, also after a failure.
        let jobs = jobs;
        let mut under_way: VecDeque<Receiver<Result<Block>>> = VecDeque::new();
        let mut crc = Crc::new();
        let mut spare = Vec::new();
        let mut dictionary = Vec::new();
        let mut is_first = true;
        if compression == Compression::Gzip {
            write(&GZIP_HEAD)?;
        }
        loop {
            let mut data = std::mem::take(&mut spare);
            fill(input, &mut data, size)?;
            let ended = data.len() < size;
            if !data.is_empty() || (is_first && compression == Compression::Zstd) {
                is_first = false;
                let next = match compression {
                    Compression::Gzip => data[data.len().saturating_sub(WINDOW)..].to_vec(),
                    _ => Vec::new(),
                };
                let (done, result) = sync_channel(1);
                let dictionary = std::mem::replace(&mut dictionary, next);
                jobs.send(Job { data, dictionary, done }).map_err(|_| gave_up())?;
                under_way.push_back(result);
            }
            while under_way.len() >= threads + AHEAD || (ended && !under_way.is_empty()) {
                let Some(result) = under_way.pop_front() else { break };
                let block = result.recv().unwrap_or_else(|_| Err(gave_up()))?;
                write(&block.packed)?;
                crc.combine(&block.crc);
                spare = block.data;
            }
            if ended {
                break;
            }
        }
        if compression == Compression::Gzip {
            write(&GZIP_END)?;
            // Both modulo 2^32, as the format wants it.
            write(&crc.sum().to_le_bytes())?;
            write(&crc.amount().to_le_bytes())?;
        }
        Ok(())
    })
}

fn copy(input: &mut dyn Read, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut data = Vec::new();
    loop {
        fill(input, &mut data, 256 << 10)?;
        if data.is_empty() {
            return Ok(());
        }
        write(&data)?;
    }
}

/// Reads as much as there is, up to a number of bytes.
fn fill(input: &mut dyn Read, data: &mut Vec<u8>, size: usize) -> Result<()> {
    data.resize(size, 0);
    let mut filled = 0;
    while filled < size {
        match input.read(&mut data[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context(|| "cannot read what is to be compressed"),
        }
    }
    data.truncate(filled);
    Ok(())
}

fn gave_up() -> Error {
    Error::new(Kind::Internal, "a compressing thread failed")
}

/// Compresses blocks as long as there are any.
fn work(jobs: &Mutex<Receiver<Job>>, compression: Compression, level: i32) {
    let mut packer = Packer::new(compression, level);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { data, dictionary, done }) = job else { return };
        let result = match &mut packer {
            Ok(packer) => packer.block(data, &dictionary).context(|| "cannot compress"),
            Err(error) => Err(Error::new(Kind::Internal, format!("cannot compress: {error}"))),
        };
        // Nobody waits for it after a failure.
        drop(done.send(result));
    }
}

/// The compressor of one thread.
enum Packer {
    Gzip(flate2::Compression),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Packer {
    fn new(compression: Compression, level: i32) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(level)?;
                compressor.include_checksum(true)?;
                Self::Zstd(compressor)
            }
            _ => {
                let level = flate2::Compression::new(u32::try_from(level).unwrap_or(6));
                Self::Gzip(level)
            }
        })
    }

    fn block(&mut self, data: Vec<u8>, dictionary: &[u8]) -> io::Result<Block> {
        let mut crc = Crc::new();
        let packed = match self {
            Self::Zstd(compressor) => compressor.compress(&data)?,
            Self::Gzip(level) => {
                crc.update(&data);
                deflate(*level, &data, dictionary)?
            }
        };
        Ok(Block { packed, data, crc })
    }
}

/// Compresses a block so that it ends at a whole byte.
///
/// By a new compressor: what one has compressed before, by chance, shows in what it finds later.
fn deflate(level: flate2::Compression, data: &[u8], dictionary: &[u8]) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(level, false);
    if !dictionary.is_empty() {
        compress.set_dictionary(dictionary)?;
    }
    let mut packed = Vec::with_capacity(data.len() / 2 + 1024);
    loop {
        let position = usize::try_from(compress.total_in()).unwrap_or(data.len());
        compress.compress_vec(&data[position..], &mut packed, FlushCompress::Sync)?;
        // Room is left when all is out, the end of the block too.
        if compress.total_in() == data.len() as u64 && packed.len() < packed.capacity() {
            return Ok(packed);
        }
        packed.reserve(packed.capacity() / 2 + 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(data: &[u8], compression: Compression, level: i32) -> Vec<u8> {
        let mut packed = Vec::new();
        let mut input = data;
        pack(&mut input, compression, level, |piece| {
            packed.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        packed
    }

    #[test]
    fn comes_back() {
        let text: Vec<u8> = (0..3_000_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let noise: Vec<u8> =
            (0..700_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        for data in [&b""[..], b"x", &text, &noise, &text[..256 << 10], &text[..2 << 20]] {
            for (compression, level) in [
                (Compression::Gzip, 1),
                (Compression::Gzip, 6),
                (Compression::Gzip, 9),
                (Compression::Zstd, 1),
                (Compression::Zstd, 3),
                (Compression::None, 0),
            ] {
                let packed = packed(data, compression, level);
                let what = format!("{} bytes, {compression}, level {level}", data.len());
                assert_eq!(Compression::detect(&packed), compression, "{what}");
                let mut again = Vec::new();
                match compression {
                    // One member: readers that know no more find all of it.
                    Compression::Gzip => {
                        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut again)
                    }
                    other => other.reader(packed.as_slice()).unwrap().read_to_end(&mut again),
                }
                .unwrap();
                assert!(again == data, "{what}");
            }
        }
    }

    #[test]
    fn blocks_cost_little() {
        let text: Vec<u8> = (0..2_000_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let mut whole = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        io::Write::write_all(&mut whole, &text).unwrap();
        let whole = whole.finish().unwrap().len();
        let blocks = packed(&text, Compression::Gzip, 6).len();
        assert!(blocks < whole + whole / 50, "{blocks} bytes in blocks, {whole} in one");
    }

    #[test]
    fn passes_failures_on() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("no more"))
            }
        }
        let error = pack(&mut Broken, Compression::Gzip, 6, |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("no more"), "{error}");
        let full = |_: &[u8]| Err(Error::new(Kind::Unavailable, "full"));
        let data = vec![0; 10 << 20];
        let error = pack(&mut data.as_slice(), Compression::Zstd, 3, full).unwrap_err();
        assert_eq!(error.to_string(), "full");
    }
}
