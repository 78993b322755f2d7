//! How to make a layer's tar stream again, bit for bit, from the files that it was unpacked to.
//!
//! A layer that came without a compressed blob is not stored twice. While it is unpacked, what is not
//! the content of a file is written down: headers, padding, extended headers, whatever follows the
//! archive's end, and the content of entries that did not become files. All of it compresses well, as
//! it is mostly zeros. What is the content of a file is noted as such.
//!
//! An archive may replace its own files. Content that would be lost by that is moved aside, into a
//! directory beside the layer's own, and `moved` says what went there and when.
//!
//! ```text
//! layers/HEX/
//! ├── recipe.zst        records: 0 LENGTH BYTES, or 1 LENGTH PATH OFFSET COUNT
//! ├── moved             AFTER LENGTH PATH, one for each file or directory that was moved aside
//! └── aside/0 …         what was moved, numbered in this order
//! ```
//!
//! A record of the second kind stands for COUNT bytes of a file at OFFSET; an empty PATH is the file of
//! the record before. PATH is below `diff`, without links on the way. AFTER is the number of files
//! that were noted before the move: those at the path, or below it, are found in `aside`. Numbers are
//! LEB128.

mod recorder;
mod replay;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

pub(crate) use recorder::{Aside, Recorder, Tap};
pub(crate) use replay::Replay;

const RECIPE: &str = "recipe.zst";
const MOVED: &str = "moved";
const ASIDE: &str = "aside";

const RAW: u8 = 0;
const CONTENT: u8 = 1;

/// Something that was moved aside.
#[derive(Debug)]
struct Move {
    /// Files that were noted before.
    after: u64,
    /// Where it was.
    path: Vec<u8>,
}

fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn put_path(to: &mut Vec<u8>, path: &[u8]) {
    put_number(to, path.len() as u64);
    to.extend_from_slice(path);
}

/// Reads a number; `None` at the end of the stream.
fn number(from: &mut impl Read) -> io::Result<Option<u64>> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        if from.read(&mut byte)? == 0 {
            return if shift == 0 { Ok(None) } else { Err(damaged()) };
        }
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(Some(number));
        }
    }
    Err(damaged())
}

fn path(from: &mut impl Read) -> io::Result<Vec<u8>> {
    // No name in an archive is longer than its longest header.
    let length = number(from)?.filter(|length| *length <= 1 << 20).ok_or_else(damaged)?;
    let mut path = Vec::new();
    from.take(length).read_to_end(&mut path)?;
    if path.len() as u64 == length { Ok(path) } else { Err(damaged()) }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the layer's recipe is damaged")
}
