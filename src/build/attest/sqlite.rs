//! As much of the format of SQLite's databases as it takes to read all rows of one table, whatever their
//! size: nothing is written, and of the database only one page and one value are in memory at a time.
//!
//! A database is pages of one size. The first one begins with a header, and holds the root of the table
//! of all tables. A table is a tree: pages within it name pages below, leaves hold rows. What does not fit
//! of a row goes on in a chain of pages. What was written last may be in a log beside the database (the
//! write-ahead log), as whole pages that take the place of the database's. See
//! <https://www.sqlite.org/fileformat2.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::{Context, Error, Kind, Result};

/// What a database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Bytes of the header, on the first page before what other pages have.
const HEADER: usize = 100;
/// What a log begins with; with the last bit set, its sums are of big-endian words.
const LOG_MAGIC: u32 = 0x377f_0682;
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// A page within a table's tree, and a leaf.
const WITHIN: u8 = 5;
const LEAF: u8 = 13;
/// A value is not larger; SQLite's own limit is near it.
const LARGEST: usize = 256 << 20;
/// No tree is deeper: a page has two below it at least.
const DEEPEST: usize = 40;

/// A database.
#[derive(Debug)]
pub(super) struct Database {
    file: File,
    page_size: usize,
    /// Bytes of a page that are in use.
    usable: usize,
    /// Pages that the log has, with their places there.
    log: Option<(File, BTreeMap<u32, u64>)>,
}

/// A value of a row, as far as anybody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A number.
    Number(i64),
    /// Text or bytes.
    Bytes(Vec<u8>),
    /// Anything else.
    Other,
}

impl Database {
    /// Opens a database, with its log if there is one.
    pub(super) fn open(file: File, log: Option<File>) -> Result<Self> {
        let mut header = [0; HEADER];
        read(&file, &mut header, 0)?;
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 1 << 16,
            size => usize::from(size),
        };
        let usable = page_size.saturating_sub(header[20].into());
        if !header.starts_with(MAGIC) || !page_size.is_power_of_two() || usable < 480 {
            return Err(damaged("it does not begin as one"));
        }
        let log =
            log.map(|log| committed(&log, page_size).map(|pages| (log, pages))).transpose()?;
        Ok(Self { file, page_size, usable, log })
    }

    /// Calls `each` with the row of a table, one after the other.
    pub(super) fn rows(
        &self,
        table: &str,
        each: &mut dyn FnMut(Vec<Value>) -> Result<()>,
    ) -> Result<()> {
        let mut root = None;
        self.walk(1, &mut |row| {
            // Its columns are type, name, table, root page and text.
            if let [Value::Bytes(kind), Value::Bytes(name), _, Value::Number(page), ..] = &row[..]
                && kind == b"table"
                && name == table.as_bytes()
            {
                root = u32::try_from(*page).ok();
            }
            Ok(())
        })?;
        let root = root.ok_or_else(|| damaged(&format!("it has no table `{table}`")))?;
        self.walk(root, each)
    }

    fn page(&self, number: u32) -> Result<Vec<u8>> {
        let mut page = vec![0; self.page_size];
        if let Some((log, pages)) = &self.log
            && let Some(at) = pages.get(&number)
        {
            read(log, &mut page, *at)?;
            return Ok(page);
        }
        let before = number.checked_sub(1).ok_or_else(|| damaged("it has no page 0"))?;
        read(&self.file, &mut page, u64::from(before) * self.page_size as u64)?;
        Ok(page)
    }

    /// Visits all rows below a page.
    fn walk(&self, root: u32, each: &mut dyn FnMut(Vec<Value>) -> Result<()>) -> Result<()> {
        let mut waiting = vec![(root, 0)];
        let mut seen = BTreeSet::new();
        while let Some((number, depth)) = waiting.pop() {
            if depth > DEEPEST || !seen.insert(number) {
                return Err(damaged("its pages go round in circles"));
            }
            let page = self.page(number)?;
            let start = if number == 1 { HEADER } else { 0 };
            let part = Part(&page);
            let kind = part.bytes(start, 1)?[0];
            let count = usize::from(part.short(start + 3)?);
            let cells = match kind {
                WITHIN => start + 12,
                LEAF => start + 8,
                _ => return Err(damaged(&format!("page {number} is of no table"))),
            };
            let cell = |index: usize| part.short(cells + 2 * index).map(usize::from);
            if kind == LEAF {
                for index in 0..count {
                    each(self.row(part, cell(index)?)?)?;
                }
                continue;
            }
            // The last one comes off first.
            waiting.push((part.long(start + 8)?, depth + 1));
            for index in (0..count).rev() {
                waiting.push((part.long(cell(index)?)?, depth + 1));
            }
        }
        Ok(())
    }

    /// Reads the row of a leaf's cell.
    fn row(&self, page: Part<'_>, at: usize) -> Result<Vec<Value>> {
        let (length, at) = page.number(at)?;
        let (_row, at) = page.number(at)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST);
        let length = length.ok_or_else(|| damaged("a row is too large"))?;
        // How much of a row is on its own page, as the format says.
        let most = self.usable - 35;
        let least = (self.usable - 12) * 32 / 255 - 23;
        let here = match length {
            length if length <= most => length,
            _ => match least + (length - least) % (self.usable - 4) {
                fits if fits <= most => fits,
                _ => least,
            },
        };
        let mut payload = page.bytes(at, here)?.to_vec();
        let mut next = if here < length { page.long(at + here)? } else { 0 };
        while payload.len() < length {
            if next == 0 {
                return Err(damaged("a row ends too soon"));
            }
            let page = self.page(next)?;
            let part = Part(&page);
            next = part.long(0)?;
            let count = (length - payload.len()).min(self.usable - 4);
            payload.extend_from_slice(part.bytes(4, count)?);
        }
        values(Part(&payload))
    }
}

/// Reads the values of a row.
fn values(row: Part<'_>) -> Result<Vec<Value>> {
    let (header, mut at) = row.number(0)?;
    let header = usize::try_from(header).unwrap_or(usize::MAX);
    let mut values = Vec::new();
    let mut data = header;
    while at < header {
        let (kind, next) = row.number(at)?;
        at = next;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return Err(damaged("a value has a reserved type")),
            kind => (kind - 12) / 2,
        };
        let bytes = row.bytes(data, usize::try_from(length).unwrap_or(usize::MAX))?;
        data += bytes.len();
        values.push(match kind {
            0 | 7 => Value::Other,
            8 => Value::Number(0),
            9 => Value::Number(1),
            1..=6 => {
                let first = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
                let number = bytes.iter().fold(first, |sum, byte| sum << 8 | i64::from(*byte));
                Value::Number(number)
            }
            _ => Value::Bytes(bytes.to_vec()),
        });
    }
    Ok(values)
}

/// Finds the pages in a log, as of the last time that all was written which belongs together.
fn committed(log: &File, page_size: usize) -> Result<BTreeMap<u32, u64>> {
    let length = log.metadata().context(|| "cannot look at its log")?.len();
    let mut pages = BTreeMap::new();
    if length < LOG_HEADER as u64 {
        return Ok(pages);
    }
    let mut header = [0; LOG_HEADER];
    read(log, &mut header, 0)?;
    let part = Part(&header);
    let magic = part.long(0)?;
    let of_size = usize::try_from(part.long(8)?).ok() == Some(page_size);
    if magic & !1 != LOG_MAGIC || !of_size {
        return Ok(pages);
    }
    let is_big = magic & 1 == 1;
    let mut sum = add((0, 0), &header[..24], is_big);
    if sum != (part.long(24)?, part.long(28)?) {
        return Ok(pages);
    }
    let mut fresh = BTreeMap::new();
    let mut frame = vec![0; FRAME_HEADER + page_size];
    let mut at = LOG_HEADER as u64;
    while at + frame.len() as u64 <= length {
        read(log, &mut frame, at)?;
        let part = Part(&frame);
        sum = add(add(sum, &frame[..8], is_big), &frame[FRAME_HEADER..], is_big);
        // What follows is of an older log.
        if part.bytes(8, 8)? != &header[16..24] || sum != (part.long(16)?, part.long(20)?) {
            break;
        }
        fresh.insert(part.long(0)?, at + FRAME_HEADER as u64);
        // With the last page of a change comes the size of the database.
        if part.long(4)? != 0 {
            pages.append(&mut fresh);
        }
        at += frame.len() as u64;
    }
    Ok(pages)
}

/// Adds bytes, a multiple of eight, to the sum of a log.
fn add(mut sum: (u32, u32), bytes: &[u8], is_big: bool) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        sum.0 = sum.0.wrapping_add(word(&pair[..4])).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(word(&pair[4..])).wrapping_add(sum.0);
    }
    sum
}

/// Bytes of which parts are read, which may not be there.
#[derive(Clone, Copy)]
struct Part<'a>(&'a [u8]);

impl<'a> Part<'a> {
    fn bytes(self, at: usize, count: usize) -> Result<&'a [u8]> {
        let end = at.checked_add(count);
        end.and_then(|end| self.0.get(at..end)).ok_or_else(|| damaged("something leads out of it"))
    }

    fn short(self, at: usize) -> Result<u16> {
        let bytes = self.bytes(at, 2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn long(self, at: usize) -> Result<u32> {
        let bytes = self.bytes(at, 4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Reads a number of one to nine bytes; returns it, and where it ends.
    fn number(self, mut at: usize) -> Result<(u64, usize)> {
        let mut number = 0;
        for count in 1.. {
            let byte = self.bytes(at, 1)?[0];
            at += 1;
            if count == 9 {
                return Ok((number << 8 | u64::from(byte), at));
            }
            number = number << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok((number, at))
    }
}

fn read(file: &File, into: &mut [u8], at: u64) -> Result<()> {
    file.read_exact_at(into, at).context(|| format!("cannot read {} bytes at {at}", into.len()))
}

fn damaged(why: &str) -> Error {
    Error::new(Kind::Invalid, format!("this is no whole database of SQLite: {why}"))
}
