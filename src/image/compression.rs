//! How a stream is compressed, told by its first bytes: media types are not to be relied upon.

use std::io::{self, BufRead, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use zstd::stream::read::Decoder;

use crate::spec::compression::Compression;

/// As many bytes are needed to tell.
const LONGEST_MAGIC: usize = 6;
/// KiB that a stream of xz may ask for: as much as its strongest preset needs, and more.
const XZ_MEMORY: u32 = 128 << 10;

impl Compression {
    /// Tells how a stream that begins like this is compressed.
    pub(crate) fn detect(beginning: &[u8]) -> Self {
        match beginning {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // The second: a skippable frame, which seekable archives begin with.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }

    /// Returns the decompressed stream.
    pub(crate) fn reader<R: BufRead>(self, input: R) -> io::Result<Decompressed<R>> {
        Ok(match self {
            Self::None => Decompressed::Plain(input),
            Self::Gzip => Decompressed::Gzip(Box::new(MultiGzDecoder::new(input))),
            // The decoder refuses windows above 128 MiB.
            Self::Zstd => Decompressed::Zstd(Decoder::with_buffer(input)?),
            Self::Bzip2 => Decompressed::Bzip2(MultiBzDecoder::new(input)),
            Self::Xz => Decompressed::Xz(Box::new(XzReader::new_mem_limit(input, true, XZ_MEMORY))),
        })
    }
}

/// A stream that is decompressed as it is read.
pub(crate) enum Decompressed<R: BufRead> {
    /// It was not compressed.
    Plain(R),
    /// From gzip.
    Gzip(Box<MultiGzDecoder<R>>),
    /// From zstd.
    Zstd(Decoder<'static, R>),
    /// From bzip2.
    Bzip2(MultiBzDecoder<R>),
    /// From xz.
    Xz(Box<XzReader<R>>),
}

impl<R: BufRead> Read for Decompressed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(input) => input.read(buffer),
            Self::Zstd(input) => input.read(buffer),
            Self::Bzip2(input) => input.read(buffer),
            Self::Xz(input) => input.read(buffer),
        }
    }
}

/// A stream of which the first bytes were looked at.
pub(crate) struct Peeked<R> {
    beginning: io::Cursor<Vec<u8>>,
    input: R,
}

impl<R: BufRead> Peeked<R> {
    /// Reads as many bytes as are needed to tell the compression.
    pub(crate) fn new(mut input: R) -> io::Result<Self> {
        let mut beginning = Vec::new();
        input.by_ref().take(LONGEST_MAGIC as u64).read_to_end(&mut beginning)?;
        Ok(Self { beginning: io::Cursor::new(beginning), input })
    }

    /// Returns the first bytes.
    pub(crate) fn beginning(&self) -> &[u8] {
        self.beginning.get_ref()
    }
}

impl<R: BufRead> Read for Peeked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Peeked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.beginning.position() < self.beginning.get_ref().len() as u64 {
            self.beginning.fill_buf()
        } else {
            self.input.fill_buf()
        }
    }

    fn consume(&mut self, length: usize) {
        if self.beginning.position() < self.beginning.get_ref().len() as u64 {
            self.beginning.consume(length);
        } else {
            self.input.consume(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_compressions() {
        for (beginning, want) in [
            (&b"\x1f\x8b\x08"[..], Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x50\x2a\x4d\x18", Compression::Zstd),
            (b"", Compression::None),
            (b"\x1f", Compression::None),
            (b"./file", Compression::None),
            (b"BZh91A", Compression::Bzip2),
            (b"BZhome", Compression::None),
            (b"\xfd7zXZ\0", Compression::Xz),
        ] {
            assert_eq!(Compression::detect(beginning), want, "{}", beginning.escape_ascii());
        }
    }
}
