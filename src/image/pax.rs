//! Extended headers of POSIX tar archives: what does not fit into a header block.

use std::io;

use super::sparse::Sparse;
use super::tarball::{Entry, malformed};

/// A header with more records than this is refused: each costs more memory than it has bytes.
const MAX_RECORDS: usize = 1 << 16;
/// A file with more attributes than this is refused: no kernel would keep them.
const MAX_XATTRS: usize = 4096;
/// Global headers that are larger than this together are refused.
const MAX_GLOBAL: usize = 1 << 20;

/// The records of one extended header.
///
/// Values may contain anything, line ends too: only the length at its beginning ends a record.
#[derive(Debug, Default)]
pub(crate) struct Pax(Vec<(Vec<u8>, Vec<u8>)>);

impl Pax {
    pub(super) fn parse(mut data: &[u8]) -> io::Result<Self> {
        let mut records = Vec::new();
        // Some writers fill the block up with zeros.
        while !data.is_empty() && data[0] != 0 {
            let space = data.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
            let length = number(&data[..space]).ok_or_else(bad)?;
            let length = usize::try_from(length).map_err(|_| bad())?;
            if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
                return Err(bad());
            }
            let record = &data[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
            if records.len() == MAX_RECORDS {
                return Err(malformed("an extended header has too many records"));
            }
            records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            data = &data[length..];
        }
        Ok(Self(records))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the records of a later header.
    pub(super) fn extend(&mut self, later: Self) -> io::Result<()> {
        self.0.extend(later.0);
        let size: usize = self.0.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > MAX_GLOBAL || self.0.len() > MAX_RECORDS {
            return Err(malformed("the global headers are larger than 1 MiB"));
        }
        Ok(())
    }

    /// Tells how large the entry's data is, if that is said here.
    pub(super) fn size(&self) -> io::Result<Option<u64>> {
        match self.0.iter().rev().find(|(key, value)| key == b"size" && !value.is_empty()) {
            Some((_, value)) => number(value).map(Some).ok_or_else(bad),
            None => Ok(None),
        }
    }

    /// Sets what is said here. Returns whether the data begins with a map of a sparse file.
    pub(super) fn apply(&self, entry: &mut Entry) -> io::Result<bool> {
        let mut sparse = Sparse::default();
        let (mut is_sparse, mut map_in_data) = (false, false);
        let mut offset = 0;
        for (key, value) in &self.0 {
            let decimal = || number(value).ok_or_else(bad);
            match key.as_slice() {
                // An empty value takes back what a global header said; no writer does it.
                _ if value.is_empty() && !key.starts_with(b"SCHILY.xattr.") => {}
                b"path" => entry.path.clone_from(value),
                b"linkpath" => entry.link.clone_from(value),
                b"uid" => entry.uid = decimal()?,
                b"gid" => entry.gid = decimal()?,
                b"mtime" => entry.mtime = time(value).ok_or_else(bad)?,
                b"GNU.sparse.name" => entry.path.clone_from(value),
                b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                    is_sparse = true;
                    sparse.size = decimal()?;
                }
                b"GNU.sparse.major" => map_in_data = value.as_slice() == b"1",
                b"GNU.sparse.offset" => offset = decimal()?,
                b"GNU.sparse.numbytes" => sparse.push(offset, decimal()?)?,
                b"GNU.sparse.map" => {
                    let mut numbers = value.split(|byte| *byte == b',');
                    while let (Some(offset), Some(length)) = (numbers.next(), numbers.next()) {
                        sparse.push(
                            number(offset).ok_or_else(bad)?,
                            number(length).ok_or_else(bad)?,
                        )?;
                    }
                }
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        // A later record replaces an earlier one.
                        entry.xattrs.retain(|(known, _)| known != name);
                        if entry.xattrs.len() == MAX_XATTRS {
                            return Err(malformed("a file has too many extended attributes"));
                        }
                        entry.xattrs.push((name.to_vec(), value.clone()));
                    }
                }
            }
        }
        if is_sparse {
            entry.sparse = Some(sparse);
        }
        Ok(is_sparse && map_in_data)
    }
}

fn bad() -> io::Error {
    malformed("an extended header is damaged")
}

/// Reads a decimal number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads seconds with a fraction, as in `1700000000.123` or `-1.5`.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = if matches!(whole, "" | "-") { 0 } else { whole.parse().ok()? };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    if text.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_records() {
        for (text, want) in [
            (&b"12 path=abc\n"[..], Some(vec![("path", &b"abc"[..])])),
            (b"9 a=b\nc\n\n9 d=1234\n", Some(vec![("a", b"b\nc\n"), ("d", b"1234")])),
            (b"8 a=b\nc\n8 d=123\n", Some(vec![("a", b"b\nc"), ("d", b"123")])),
            (b"6 a=b\n\0\0\0", Some(vec![("a", b"b")])),
            (b"5 a=\n", Some(vec![("a", b"")])),
            (b"6 a-b\n", None),
            (b"99 a=b\n", None),
            (b"0 a=b\n", None),
            (b"2 a=b\n", None),
            (b"-6 a=b\n", None),
            (b"99999999999999999999 a=b\n", None),
            (b"a=b\n", None),
            (b"6 a=bx", None),
        ] {
            let got = Pax::parse(text).ok().map(|pax| pax.0);
            let want = want.map(|records| {
                records
                    .into_iter()
                    .map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec()))
                    .collect::<Vec<_>>()
            });
            assert_eq!(got, want, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn parses_times() {
        for (text, want) in [
            ("1700000000", Some((1_700_000_000, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            (".5", Some((0, 500_000_000))),
            ("1.x", None),
            ("x", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), want, "{text}");
        }
    }
}
