//! Tar streams, entry by entry: old, POSIX and GNU archives, long names, sparse files.
//!
//! What is read is not trusted: no number in a header decides how much memory is taken.
//! Where readers of archives differ, this one does as Go's does, as that is what made the images.

use std::io::{self, BufRead};

use super::pax::{Pax, number};
use super::sparse::{Sparse, damaged};

const BLOCK: usize = 512;
/// Names and extended headers above this size are refused.
const MAX_HEADER: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    #[default]
    File,
    /// Another name of a file in this archive.
    HardLink,
    /// A symbolic link.
    SymbolicLink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One entry of an archive.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Its path, as it is written.
    pub(crate) path: Vec<u8>,
    /// Where a link leads to, as it is written.
    pub(crate) link: Vec<u8>,
    /// What it is.
    pub(crate) kind: EntryKind,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u64,
    /// Group.
    pub(crate) gid: u64,
    /// Last change: seconds since 1970 and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Bytes of data in the archive.
    pub(crate) size: u64,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Extended attributes.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data belongs, if the file has holes.
    pub(crate) sparse: Option<Sparse>,
}

/// Reads entries from a stream.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: R,
    /// Data of the present entry that was not read yet.
    left: u64,
    /// What fills its last block.
    padding: u64,
    /// Bytes of the stream that were read.
    position: u64,
    global: Pax,
}

impl<R: BufRead> Reader<R> {
    /// Begins to read an archive.
    pub(crate) fn new(input: R) -> Self {
        Self { input, left: 0, padding: 0, position: 0, global: Pax::default() }
    }

    /// Returns where the present entry's data begins, from the beginning of the stream, as long as
    /// nothing of it was read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the stream, which stands where the next byte is.
    pub(crate) fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// Gives the stream back.
    pub(crate) fn into_input(self) -> R {
        self.input
    }

    /// Goes on to the next entry, past unread data of the present one; `false` at the end.
    pub(crate) fn next(&mut self, entry: &mut Entry) -> io::Result<bool> {
        let mut local = Pax::default();
        let (mut long_path, mut long_link) = (None, None);
        let mut block = [0; BLOCK];
        loop {
            self.skip(self.left + self.padding)?;
            (self.left, self.padding) = (0, 0);
            if !self.block(&mut block)? || block == [0; BLOCK] {
                return if local.is_empty() && long_path.is_none() && long_link.is_none() {
                    Ok(false)
                } else {
                    Err(malformed("it ends after an extended header"))
                };
            }
            let header = tar::Header::from_byte_slice(&block);
            check_sum(&block)?;
            let fields = header.as_old();
            self.left = numeric(&fields.size)
                .and_then(|size| u64::try_from(size).ok())
                .ok_or_else(|| malformed("a header has no valid size"))?;
            self.padding = padding(self.left);
            match fields.linkflag[0] {
                b'x' | b'X' => local = Pax::parse(&self.text()?)?,
                b'g' => {
                    let global = Pax::parse(&self.text()?)?;
                    self.global.extend(global)?;
                }
                b'L' => long_path = Some(until_zero(&self.text()?).to_vec()),
                b'K' => long_link = Some(until_zero(&self.text()?).to_vec()),
                // The name of the volume.
                b'V' => {}
                _ => {
                    self.read_header(header, entry)?;
                    if let Some(path) = long_path {
                        entry.path = path;
                    }
                    if let Some(link) = long_link {
                        entry.link = link;
                    }
                    self.read_extensions(&local, entry)?;
                    // Before POSIX a directory was a file whose name ends with a slash.
                    if fields.linkflag[0] == 0 && entry.path.ends_with(b"/") {
                        entry.kind = EntryKind::Directory;
                    }
                    return Ok(true);
                }
            }
        }
    }

    fn read_header(&mut self, header: &tar::Header, entry: &mut Entry) -> io::Result<()> {
        let fields = header.as_old();
        let field = |bytes: &[u8], what: &str| {
            numeric(bytes).ok_or_else(|| malformed(&format!("a header has no valid {what}")))
        };
        let positive = |bytes: &[u8], what: &str| {
            field(bytes, what).and_then(|number| {
                u64::try_from(number)
                    .map_err(|_| malformed(&format!("a header has no valid {what}")))
            })
        };
        entry.path.clear();
        if let Some(ustar) = header.as_ustar() {
            let prefix = until_zero(&ustar.prefix);
            if !prefix.is_empty() {
                entry.path.extend_from_slice(prefix);
                entry.path.push(b'/');
            }
        }
        entry.path.extend_from_slice(until_zero(&fields.name));
        entry.link.clear();
        entry.link.extend_from_slice(until_zero(&fields.linkname));
        entry.mode = (positive(&fields.mode, "mode")? & 0o7777) as u32;
        entry.uid = positive(&fields.uid, "owner")?;
        entry.gid = positive(&fields.gid, "group")?;
        entry.mtime = (field(&fields.mtime, "time")?, 0);
        entry.xattrs.clear();
        entry.sparse = None;
        entry.device = (0, 0);
        entry.kind = match fields.linkflag[0] {
            b'\0' | b'0' | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::SymbolicLink,
            b'3' => EntryKind::CharacterDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            other => {
                return Err(malformed(&format!(
                    "it has an entry of an unknown type, `{}`",
                    other.escape_ascii()
                )));
            }
        };
        if matches!(entry.kind, EntryKind::CharacterDevice | EntryKind::BlockDevice) {
            // The same place in both formats.
            let major = &header.as_bytes()[329..337];
            let minor = &header.as_bytes()[337..345];
            let part = |bytes| {
                positive(bytes, "device number").and_then(|number| {
                    u32::try_from(number)
                        .map_err(|_| malformed("a header has no valid device number"))
                })
            };
            entry.device = (part(major)?, part(minor)?);
        }
        if fields.linkflag[0] == b'S' {
            let gnu =
                header.as_gnu().ok_or_else(|| malformed("a sparse file has no GNU header"))?;
            entry.sparse = Some(self.read_gnu_map(gnu)?);
        }
        Ok(())
    }

    fn read_gnu_map(&mut self, gnu: &tar::GnuHeader) -> io::Result<Sparse> {
        let value = |bytes: &[u8]| {
            numeric(bytes).and_then(|number| u64::try_from(number).ok()).ok_or_else(damaged)
        };
        let mut sparse = Sparse { size: value(&gnu.realsize)?, pieces: Vec::new() };
        for piece in gnu.sparse.iter().filter(|piece| piece.numbytes[0] != 0) {
            sparse.push(value(&piece.offset)?, value(&piece.numbytes)?)?;
        }
        let mut goes_on = gnu.isextended[0] == 1;
        let mut block = [0; BLOCK];
        while goes_on {
            if !self.block(&mut block)? {
                return Err(truncated());
            }
            for piece in block[..504].chunks_exact(24).filter(|piece| piece[12] != 0) {
                sparse.push(value(&piece[..12])?, value(&piece[12..])?)?;
            }
            goes_on = block[504] == 1;
        }
        Ok(sparse)
    }

    fn read_extensions(&mut self, local: &Pax, entry: &mut Entry) -> io::Result<()> {
        let size = match local.size()? {
            None => self.global.size()?,
            size => size,
        };
        if let Some(size) = size {
            self.left = size;
            self.padding = padding(size);
        }
        let mut map_in_data = self.global.apply(entry)?;
        map_in_data |= local.apply(entry)?;
        if entry.kind != EntryKind::File {
            // Some writers note the size of a hard link's file; no data follows.
            (self.left, self.padding) = (0, 0);
            entry.sparse = None;
        }
        if let Some(sparse) = &mut entry.sparse {
            if map_in_data {
                self.read_map(sparse)?;
            }
            sparse.check(self.left)?;
        }
        entry.size = self.left;
        Ok(())
    }

    /// Reads the map at the beginning of the data: decimal numbers in lines, filled up to a block.
    fn read_map(&mut self, sparse: &mut Sparse) -> io::Result<()> {
        let mut taken = 0;
        let count = self.line(&mut taken)?;
        for _ in 0..count {
            let offset = self.line(&mut taken)?;
            let length = self.line(&mut taken)?;
            sparse.push(offset, length)?;
        }
        let rest = padding(taken).min(self.left);
        self.skip(rest)?;
        self.left -= rest;
        Ok(())
    }

    fn line(&mut self, taken: &mut u64) -> io::Result<u64> {
        let mut text = Vec::new();
        loop {
            let byte = *self.data()?.first().ok_or_else(damaged)?;
            self.consume(1);
            *taken += 1;
            match byte {
                b'\n' => return number(&text).ok_or_else(damaged),
                _ if text.len() < 20 => text.push(byte),
                _ => return Err(damaged()),
            }
        }
    }

    /// Lends data of the present entry; an empty slice is its end.
    pub(crate) fn data(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let data = self.input.fill_buf()?;
        if data.is_empty() {
            return Err(truncated());
        }
        let length = usize::try_from(self.left).map_or(data.len(), |left| data.len().min(left));
        Ok(&data[..length])
    }

    /// Marks lent data as read.
    pub(crate) fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.left -= length as u64;
        self.position += length as u64;
    }

    /// Reads the data of a header entry whole.
    fn text(&mut self) -> io::Result<Vec<u8>> {
        if self.left > MAX_HEADER {
            return Err(malformed("an extended header is larger than 1 MiB"));
        }
        let mut text = Vec::new();
        loop {
            let data = self.data()?;
            if data.is_empty() {
                return Ok(text);
            }
            text.extend_from_slice(data);
            let length = data.len();
            self.consume(length);
        }
    }

    /// Reads a block; `false` if the stream ends before it.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            let data = self.input.fill_buf()?;
            if data.is_empty() {
                return if filled == 0 { Ok(false) } else { Err(truncated()) };
            }
            let length = data.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&data[..length]);
            self.input.consume(length);
            self.position += length as u64;
            filled += length;
        }
        Ok(true)
    }

    fn skip(&mut self, mut length: u64) -> io::Result<()> {
        while length > 0 {
            let data = self.input.fill_buf()?;
            if data.is_empty() {
                return Err(truncated());
            }
            let step = usize::try_from(length).map_or(data.len(), |length| data.len().min(length));
            self.input.consume(step);
            self.position += step as u64;
            length -= step as u64;
        }
        Ok(())
    }
}

pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the tar archive is malformed: {what}"))
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the tar archive is cut off")
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => &bytes[..end],
        None => bytes,
    }
}

fn check_sum(block: &[u8; BLOCK]) -> io::Result<()> {
    let mut sum = 8 * i64::from(b' ');
    // Some old writers summed up signed bytes.
    let mut signed = sum;
    for byte in block[..148].iter().chain(&block[156..]) {
        sum += i64::from(*byte);
        signed += i64::from(byte.cast_signed());
    }
    match numeric(&block[148..156]) {
        Some(want) if want == sum || want == signed => Ok(()),
        // No chance would ever find one.
        _ if cfg!(fuzzing) => Ok(()),
        _ => Err(malformed("the check sum of a header is wrong")),
    }
}

/// Reads a number of a header: octal digits, or GNU's big-endian binary. Blank means 0.
fn numeric(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // Two's complement; the second highest bit of the first byte is the sign.
        let mut value = if first & 0x40 != 0 { -1_i64 } else { 0 };
        let head = i64::from(first & 0x7f) | (value & !0x7f);
        for (index, byte) in field.iter().enumerate() {
            let byte = if index == 0 { head } else { i64::from(*byte) };
            if index == 0 {
                value = byte;
                continue;
            }
            value = value.checked_mul(256)?.checked_add(byte)?;
        }
        return Some(value);
    }
    let mut text = field;
    while let [b' ' | 0, rest @ ..] = text {
        text = rest;
    }
    let mut value = 0_i64;
    for byte in text {
        match byte {
            b'0'..=b'7' => value = value.checked_mul(8)?.checked_add(i64::from(byte - b'0'))?,
            b' ' | 0 => break,
            _ => return None,
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers() {
        for (field, want) in [
            (&b"0000755\0"[..], Some(0o755)),
            (b"   644 \0", Some(0o644)),
            (b"644", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"0000009\0", None),
            (b"-000001\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\x00", Some(-256)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(numeric(field), want, "{}", field.escape_ascii());
        }
    }

    fn entries(data: &[u8]) -> io::Result<Vec<(String, EntryKind, u64)>> {
        let mut reader = Reader::new(data);
        let mut entry = Entry::default();
        let mut found = Vec::new();
        while reader.next(&mut entry)? {
            found.push((String::from_utf8_lossy(&entry.path).into_owned(), entry.kind, entry.size));
        }
        Ok(found)
    }

    fn archive(path: &str, size: u64, data: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path(path).unwrap();
        header.set_size(size);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    #[test]
    fn reads_long_names() {
        let long = "d/".repeat(200) + "file";
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
        let data = builder.into_inner().unwrap();
        assert_eq!(entries(&data).unwrap(), [(long, EntryKind::File, 3)]);
    }

    #[test]
    fn takes_a_name_cut_after_a_slash_for_no_directory() {
        // The header has the first 100 bytes of a long name; here they end with a slash.
        let long = "d".repeat(99) + "/file";
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
        let data = builder.into_inner().unwrap();
        assert_eq!(entries(&data).unwrap(), [(long, EntryKind::File, 3)]);
    }

    #[test]
    fn notices_damage() {
        let good = archive("file", 3, b"abc");
        assert_eq!(entries(&good).unwrap().len(), 1);
        let mut flipped = good.clone();
        flipped[0] ^= 1;
        assert!(entries(&flipped).is_err(), "check sum");
        assert!(entries(&good[..700]).is_err(), "cut off in the data");
        assert!(entries(&good[..300]).is_err(), "cut off in the header");
        assert!(entries(&archive("file", u64::MAX >> 2, b"abc")).is_err(), "size beyond the end");
        assert!(entries(b"this is no tar archive").is_err());
        assert!(entries(b"").unwrap().is_empty());
    }

    #[test]
    fn takes_no_memory_on_a_header_s_word() {
        let mut header = tar::Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let error = entries(header.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("larger than 1 MiB"), "{error}");
    }
}
