//! Headers of tar archives, to be written: POSIX's of 1988, with extended headers where those are too
//! narrow.

use super::sparse::Sparse;
use super::tarball::EntryKind;

pub(crate) const BLOCK: usize = 512;

/// The widest numbers of the octal fields.
const MAX_ID: u64 = 0o777_7777;
const MAX_SIZE: u64 = 0o777_7777_7777;

/// What is written about a file.
#[derive(Debug, Default)]
pub(crate) struct Header<'a> {
    /// Its path; a slash ends that of a directory.
    pub(crate) path: &'a [u8],
    /// Where a link leads to.
    pub(crate) link: &'a [u8],
    /// What it is.
    pub(crate) kind: EntryKind,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Last change, in seconds since 1970.
    pub(crate) mtime: i64,
    /// Bytes of data that follow.
    pub(crate) size: u64,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Extended attributes.
    pub(crate) xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// The map of a file with holes; it is written before the data and is no part of `size`.
    pub(crate) sparse: Option<&'a Sparse>,
}

impl Header<'_> {
    /// Writes it to the end of a buffer, with the map of a file with holes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let map = self.sparse.map(map_of);
        let size = self.size + map.as_ref().map_or(0, |map| map.len() as u64);
        let records = self.records(size);
        if !records.is_empty() {
            let name = shortened(b"PaxHeaders.0/", self.path);
            let fields = Fields { kind: b'x', size: records.len() as u64, ..Fields::default() };
            block(out, &fields, &name, b"", b"");
            out.extend_from_slice(&records);
            pad(out);
        }
        let split = match self.sparse {
            // Readers that know no maps see what it is.
            Some(_) => Some((Vec::new(), shortened(b"GNUSparseFile.0/", self.path))),
            None => split(self.path).map(|(prefix, name)| (prefix.to_vec(), name.to_vec())),
        };
        let (prefix, name) = split.unwrap_or_else(|| (Vec::new(), shortened(b"", self.path)));
        let link = &self.link[..self.link.len().min(100)];
        block(out, &self.fields(size), &name, &prefix, link);
        out.extend(map.unwrap_or_default());
    }

    fn fields(&self, size: u64) -> Fields {
        let (major, minor) = self.device;
        let narrow = |id: u32| if u64::from(id) <= MAX_ID { u64::from(id) } else { 0 };
        Fields {
            kind: match self.kind {
                EntryKind::File => b'0',
                EntryKind::HardLink => b'1',
                EntryKind::SymbolicLink => b'2',
                EntryKind::CharacterDevice => b'3',
                EntryKind::BlockDevice => b'4',
                EntryKind::Directory => b'5',
                EntryKind::Fifo => b'6',
            },
            mode: u64::from(self.mode),
            uid: narrow(self.uid),
            gid: narrow(self.gid),
            size: if size <= MAX_SIZE { size } else { 0 },
            mtime: u64::try_from(self.mtime).ok().filter(|it| *it <= MAX_SIZE).unwrap_or(0),
            device: (u64::from(major), u64::from(minor)),
        }
    }

    /// What the fields cannot hold.
    fn records(&self, size: u64) -> Vec<u8> {
        let mut records = Vec::new();
        let mut add = |key: &[u8], value: &[u8]| record(&mut records, key, value);
        let number = |number: u64| number.to_string().into_bytes();
        if let Some(sparse) = self.sparse {
            add(b"GNU.sparse.major", b"1");
            add(b"GNU.sparse.minor", b"0");
            add(b"GNU.sparse.name", self.path);
            add(b"GNU.sparse.realsize", &number(sparse.size));
        } else if split(self.path).is_none() {
            add(b"path", self.path);
        }
        if self.link.len() > 100 {
            add(b"linkpath", self.link);
        }
        for (key, id) in [(b"uid", self.uid), (b"gid", self.gid)] {
            if u64::from(id) > MAX_ID {
                add(key, &number(id.into()));
            }
        }
        if size > MAX_SIZE {
            add(b"size", &number(size));
        }
        if !u64::try_from(self.mtime).is_ok_and(|time| time <= MAX_SIZE) {
            add(b"mtime", self.mtime.to_string().as_bytes());
        }
        for (name, value) in self.xattrs {
            add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        records
    }
}

#[derive(Default)]
struct Fields {
    kind: u8,
    mode: u64,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
    device: (u64, u64),
}

fn block(out: &mut Vec<u8>, fields: &Fields, name: &[u8], prefix: &[u8], link: &[u8]) {
    let mut block = [0; BLOCK];
    let mut text = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    let octal = |number: u64, width: usize| format!("{number:0width$o}").into_bytes();
    text(0, name);
    text(100, &octal(fields.mode, 7));
    text(108, &octal(fields.uid, 7));
    text(116, &octal(fields.gid, 7));
    text(124, &octal(fields.size, 11));
    text(136, &octal(fields.mtime, 11));
    // The sum is made with blanks in its own place.
    text(148, b"        ");
    text(156, &[fields.kind]);
    text(157, link);
    text(257, b"ustar\x0000");
    text(329, &octal(fields.device.0, 7));
    text(337, &octal(fields.device.1, 7));
    text(345, prefix);
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..154].copy_from_slice(&octal(sum, 6));
    block[154] = 0;
    out.extend_from_slice(&block);
}

/// Splits a path into a prefix and a name that have room in their fields.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // Not the slash at the end of a directory.
    let slashes =
        path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && at + 1 < path.len());
    let mut ends = slashes.map(|(at, _)| at);
    ends.find(|at| *at > 0 && *at <= 155 && path.len() - at - 1 <= 100)
        .map(|at| (&path[..at], &path[at + 1..]))
}

/// A name for those who do not read the extended header.
fn shortened(before: &[u8], path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let mut short = before.to_vec();
    short.extend(name.iter().take(100 - before.len()));
    short
}

/// Adds a record of an extended header: its length, which counts itself, then the rest.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// The map of a file with holes as it stands before the data.
fn map_of(sparse: &Sparse) -> Vec<u8> {
    // A piece of no bytes tells GNU tar where the hole at the end ends.
    let pieces: Vec<(u64, u64)> = sparse.pieces.iter().copied().chain([(sparse.size, 0)]).collect();
    let mut map = format!("{}\n", pieces.len()).into_bytes();
    for (offset, length) in pieces {
        map.extend_from_slice(format!("{offset}\n{length}\n").as_bytes());
    }
    pad(&mut map);
    map
}

/// Fills a buffer up to a whole block.
pub(crate) fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

#[cfg(test)]
mod tests {
    use super::super::tarball::{Entry, Reader};
    use super::*;

    fn read(archive: &[u8]) -> Entry {
        let mut entry = Entry::default();
        assert!(Reader::new(archive).next(&mut entry).unwrap());
        entry
    }

    #[test]
    fn what_is_written_can_be_read() {
        let long = "d/".repeat(90);
        let name = "n".repeat(300);
        for path in ["a", "a/b/", &long, &name, &format!("{long}{name}"), "\u{fc}"] {
            for link in ["", "target", &name] {
                let xattrs = [(b"user.a".to_vec(), b"1\n=\0".to_vec())];
                let header = Header {
                    path: path.as_bytes(),
                    link: link.as_bytes(),
                    kind: EntryKind::SymbolicLink,
                    mode: 0o4755,
                    uid: u32::MAX - 1,
                    gid: 5,
                    mtime: -5,
                    xattrs: &xattrs,
                    ..Header::default()
                };
                let mut archive = Vec::new();
                header.write(&mut archive);
                assert_eq!(archive.len() % BLOCK, 0);
                let entry = read(&archive);
                assert_eq!((&entry.path[..], &entry.link[..]), (path.as_bytes(), link.as_bytes()));
                assert_eq!(
                    (entry.mode, entry.uid, entry.gid),
                    (0o4755, u64::from(u32::MAX - 1), 5)
                );
                assert_eq!((entry.mtime, entry.kind), ((-5, 0), EntryKind::SymbolicLink));
                assert_eq!(entry.xattrs, xattrs);
            }
        }
    }

    #[test]
    fn maps_can_be_read() {
        let sparse = Sparse { size: 100 << 30, pieces: vec![(0, 512), (10 << 30, 100)] };
        let header =
            Header { path: b"d/file", size: 612, sparse: Some(&sparse), ..Header::default() };
        let mut archive = Vec::new();
        header.write(&mut archive);
        archive.extend([7; 612]);
        pad(&mut archive);
        let entry = read(&archive);
        assert_eq!((&entry.path[..], entry.size), (&b"d/file"[..], 612));
        assert_eq!(entry.sparse, Some(sparse));
    }

    #[test]
    fn lengths_count_themselves() {
        for length in 85..110 {
            let mut records = Vec::new();
            record(&mut records, b"k", &vec![b'v'; length]);
            let text = String::from_utf8(records.clone()).unwrap();
            let number: usize = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(number, records.len());
        }
    }
}
