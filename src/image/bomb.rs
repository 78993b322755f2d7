//! Streams that grow out of all proportion when they are decompressed: bombs that fill the disk.
//!
//! The digest and the size of what comes are checked anyway, but say nothing of what it becomes.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use super::compression::Decompressed;
use crate::error::{Error, Kind};
use crate::spec::compression::Compression;

/// Bytes that every stream may become: as many do no harm, and small files of zeros shrink to nothing.
const HARMLESS: u64 = 1 << 30;

/// Returns the decompressed stream, which fails when it is more than `ratio` times as large as what it
/// is made from; with 0 it never does.
pub(crate) fn reader<R: BufRead>(
    compression: Compression,
    input: R,
    ratio: u64,
) -> io::Result<Guarded<R>> {
    Guarded::new(compression, input, ratio, HARMLESS)
}

/// A decompressed stream that is compared with what it is made from.
pub(crate) struct Guarded<R: BufRead> {
    inner: Decompressed<Counted<R>>,
    /// Bytes that the decoder took.
    taken: Rc<Cell<u64>>,
    /// Bytes that it made of them.
    made: u64,
    ratio: u64,
    harmless: u64,
}

impl<R: BufRead> Guarded<R> {
    fn new(compression: Compression, input: R, ratio: u64, harmless: u64) -> io::Result<Self> {
        let taken = Rc::new(Cell::new(0));
        let input = Counted { input, taken: Rc::clone(&taken) };
        Ok(Self { inner: compression.reader(input)?, taken, made: 0, ratio, harmless })
    }
}

impl<R: BufRead> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.made += length as u64;
        let allowed = self.taken.get().saturating_mul(self.ratio).max(self.harmless);
        if self.ratio > 0 && self.made > allowed {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Bomb { ratio: self.ratio }));
        }
        Ok(length)
    }
}

/// What a decoder reads from.
struct Counted<R> {
    input: R,
    taken: Rc<Cell<u64>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.taken.set(self.taken.get() + length as u64);
        self.input.consume(length);
    }
}

/// Why a stream was not read to its end.
#[derive(Debug)]
struct Bomb {
    ratio: u64,
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it unpacks to more than {} times its size: it may be a bomb", self.ratio)
    }
}

impl std::error::Error for Bomb {}

/// The error for a stream that cannot be decompressed: what was tried, why it failed, what to do.
pub(crate) fn explain(doing: &str, error: io::Error) -> Error {
    let is_bomb = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Bomb>);
    Error::new(Kind::Invalid, doing).caused_by(error).hint(if is_bomb {
        "if you trust it, set another limit: barge --storage-opt max_unpacked_ratio=N, 0 for none"
    } else {
        "it is damaged or cut off"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn noise(length: u64) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn tells_bombs_from_what_is_only_well_compressed() {
        let zeros = vec![0; 1 << 20];
        let zstd = zstd::encode_all(zeros.as_slice(), 3).unwrap();
        let bombs = [
            (Compression::Gzip, gzip(&zeros)),
            // Bombs in pieces, each of them harmless.
            (Compression::Gzip, gzip(&zeros[..1 << 16]).repeat(16)),
            (Compression::Zstd, zstd),
            // What follows a bomb does not make it better: it is not read any more.
            (Compression::Gzip, [gzip(&zeros), gzip(&noise(1 << 20))].concat()),
        ];
        for (ratio, harmless, want) in [
            (500, 1 << 10, false),
            (500, (1 << 20) - 1, false),
            (500, 1 << 21, true),
            (100_000, 1 << 10, true),
            (0, 0, true),
        ] {
            for (compression, packed) in &bombs {
                let mut reader =
                    Guarded::new(*compression, packed.as_slice(), ratio, harmless).unwrap();
                let got = io::copy(&mut reader, &mut io::sink());
                let what = format!("{compression:?}, {ratio}, {harmless}: {got:?}");
                assert_eq!(got.is_ok(), want, "{what}");
                if let Err(error) = got {
                    let error = explain("cannot decompress the layer", error);
                    let text = error.to_string();
                    assert!(text.contains("more than 500 times its size"), "{text}");
                    assert!(error.hint_text().unwrap().contains("max_unpacked_ratio"));
                    // No more was made of it than was allowed, but for one buffer.
                    assert!(reader.made < harmless + (1 << 17), "{what}");
                }
            }
        }
        for (compression, packed) in
            [(Compression::Gzip, gzip(&noise(1 << 20))), (Compression::None, zeros)]
        {
            let mut reader = Guarded::new(compression, packed.as_slice(), 2, 0).unwrap();
            assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), 1 << 20);
        }
        let text = gzip(b"text");
        let mut cut = Guarded::new(Compression::Gzip, &text[..10], 2, 0).unwrap();
        let error = io::copy(&mut cut, &mut io::sink()).unwrap_err();
        assert_eq!(explain("x", error).hint_text(), Some("it is damaged or cut off"));
    }
}
