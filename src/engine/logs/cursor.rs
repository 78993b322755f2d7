//! A place in the files of a log, which moves from line to line and from file to file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use memchr::{memchr, memrchr};

use super::entry::{Format, LogLine, Parsed, Text};
use super::{LogOptions, Source};
use crate::error::{Context, Result};
use crate::store::log::{LogFiles, Rotated};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;

/// A place in the files of a log.
pub(super) struct Cursor {
    files: LogFiles,
    format: Format,
    follow: bool,
    /// The file that is read; `None` if the next is yet to be opened.
    input: Option<Input>,
    /// The number of that file, or what it will be once it is rotated.
    number: u64,
    /// Lines that are passed over.
    skip: u64,
    buffer: Vec<u8>,
    /// What of the buffer is filled and was not looked at.
    start: usize,
    /// The present line, within the buffer.
    line_start: usize,
    line_end: usize,
    parsed: Option<Parsed>,
    scratch: Vec<u8>,
}

enum Input {
    /// The file that is written to.
    Current(File),
    /// One that was when we opened it, and has been rotated since.
    Finished(File),
    Compressed(Box<MultiGzDecoder<File>>),
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Current(file) | Self::Finished(file) => file.read(buffer),
            Self::Compressed(decoder) => decoder.read(buffer),
        }
    }
}

impl Source for Cursor {
    fn advance(&mut self) -> Result<bool> {
        loop {
            while let Some(length) = memchr(b'\n', &self.buffer[self.start..]) {
                let line = self.start..self.start + length;
                self.start = line.end + 1;
                let Some(parsed) = self.format.parse(&self.buffer[line.clone()], &mut self.scratch)
                else {
                    continue;
                };
                if self.skip > 0 {
                    self.skip -= u64::from(parsed.whole);
                    continue;
                }
                (self.line_start, self.line_end) = (line.start, line.end);
                self.parsed = Some(parsed);
                return Ok(true);
            }
            if !self.fill()? {
                return Ok(false);
            }
        }
    }

    fn line(&self) -> LogLine<'_> {
        let line = &self.buffer[self.line_start..self.line_end];
        let parsed = self.parsed.as_ref().expect("there is a line after `advance` said so");
        LogLine {
            // What is not UTF-8 here is no time either.
            time: std::str::from_utf8(&line[parsed.time.clone()]).unwrap_or_default(),
            stream: parsed.stream,
            whole: parsed.whole,
            text: match parsed.text {
                Text::From(start) => &line[start..],
                Text::Scratch => &self.scratch,
            },
        }
    }
}

impl Cursor {
    /// Makes a cursor before the first line that is wanted.
    pub(super) fn new(files: LogFiles, format: Format, options: &LogOptions) -> Result<Self> {
        let mut cursor = Self {
            format,
            follow: options.follow,
            input: None,
            number: files.numbers()?.first().copied().unwrap_or(1),
            skip: 0,
            buffer: Vec::new(),
            start: 0,
            line_start: 0,
            line_end: 0,
            parsed: None,
            scratch: Vec::new(),
            files,
        };
        if let Some(lines) = options.tail {
            cursor.go_back(lines)?;
        }
        Ok(cursor)
    }

    /// Goes to where the last so many lines begin.
    fn go_back(&mut self, lines: u64) -> Result<()> {
        let (file, numbers) = loop {
            let numbers = self.files.numbers()?;
            let Some(file) = self.files.open_current()? else { return Ok(()) };
            // Else it was rotated just now.
            if self.files.numbers()? == numbers {
                break (file, numbers);
            }
        };
        let mut number = numbers.last().map_or(1, |last| last + 1);
        let mut left = lines;
        let mut input = Input::Current(file);
        let mut older = numbers.iter().rev();
        loop {
            let found = self.seek_back(&mut input, &mut left)?;
            (self.input, self.number) = (Some(input), number);
            if found {
                return Ok(());
            }
            let Some(before) = older.next() else { return Ok(()) };
            let Some(opened) = self.files.open(*before)? else { return Ok(()) };
            (input, number) = (Input::rotated(opened), *before);
        }
    }

    /// Goes back from the end of a file until no more lines are wanted; `false` if that takes more
    /// than there are: then it is at the beginning.
    fn seek_back(&mut self, input: &mut Input, left: &mut u64) -> Result<bool> {
        let path = self.files.path().to_owned();
        let context = || format!("cannot read {}", path.display());
        match input {
            Input::Current(file) => go_to_last(file, self.format, left, true).context(context),
            Input::Finished(file) => go_to_last(file, self.format, left, false).context(context),
            Input::Compressed(decoder) => {
                let all = count(decoder.as_mut(), self.format).context(context)?;
                decoder.get_mut().rewind().context(context)?;
                let file = decoder.get_ref().try_clone().context(context)?;
                **decoder = MultiGzDecoder::new(file);
                self.skip = all.saturating_sub(*left);
                *left = left.saturating_sub(all);
                Ok(*left == 0)
            }
        }
    }

    /// Reads more, from the next file if this one has come to its end; `false` if there is no more.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        loop {
            if self.input.is_none() && !self.open_next()? {
                return Ok(false);
            }
            let Some(input) = &mut self.input else { return Ok(false) };
            self.buffer.resize(filled + CHUNK, 0);
            let read = input.read(&mut self.buffer[filled..]);
            self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
            let length = read.context(|| format!("cannot read {}", self.files.path().display()))?;
            if length > 0 {
                return Ok(true);
            }
            match self.input.take() {
                Some(Input::Current(file)) => {
                    if !self.follow || !is_replaced(&file, self.files.path()) {
                        self.input = Some(Input::Current(file));
                        return Ok(false);
                    }
                    self.number = self.number_of(&file)?;
                    // Something may have been written between our reading and its end.
                    self.input = Some(Input::Finished(file));
                }
                _ => {
                    // Whoever wrote it was killed within a line.
                    self.buffer.clear();
                    self.number += 1;
                    return self.fill_from_next();
                }
            }
        }
    }

    fn fill_from_next(&mut self) -> Result<bool> {
        if self.open_next()? { self.fill() } else { Ok(false) }
    }

    /// Opens the file with the present number, or the next that there is.
    fn open_next(&mut self) -> Result<bool> {
        loop {
            if let Some(rotated) = self.files.open(self.number)? {
                self.input = Some(Input::rotated(rotated));
                return Ok(true);
            }
            let Some(current) = self.files.open_current()? else { return Ok(false) };
            // It may have been rotated before we had it open.
            match self.files.numbers()?.into_iter().find(|number| *number >= self.number) {
                Some(number) => self.number = number,
                None => {
                    self.input = Some(Input::Current(current));
                    return Ok(true);
                }
            }
        }
    }

    /// Finds out which number the file got that was written to when we opened it.
    fn number_of(&self, file: &File) -> Result<u64> {
        let inode = |path: &Path| std::fs::metadata(path).map(|it| (it.dev(), it.ino())).ok();
        let ours = file.metadata().map(|it| (it.dev(), it.ino())).ok();
        let mut numbers = self.files.numbers()?.into_iter();
        let found = numbers.find(|number| inode(&self.files.numbered(*number)) == ours);
        // It is compressed already: then its number is one more than that of the one before.
        Ok(found.unwrap_or(self.number))
    }
}

impl Input {
    fn rotated(rotated: Rotated) -> Self {
        match rotated {
            Rotated::Plain(file) => Self::Finished(file),
            Rotated::Compressed(file) => Self::Compressed(Box::new(MultiGzDecoder::new(file))),
        }
    }
}

/// Tells whether there is another file at the path by now.
fn is_replaced(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) != (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

/// Goes to where the last lines of a file begin; `false` if it has fewer: then to its beginning.
fn go_to_last(
    file: &mut File,
    format: Format,
    left: &mut u64,
    is_newest: bool,
) -> std::io::Result<bool> {
    let start = start_of_last(file, format, left, is_newest)?;
    file.seek(SeekFrom::Start(start.unwrap_or(0)))?;
    Ok(start.is_some())
}

/// Finds where the last lines of a file begin, as many as are `left`; `None` if it has fewer.
///
/// A line that came in parts is one, and so is one at the end of the newest file that is not whole.
fn start_of_last(
    file: &File,
    format: Format,
    left: &mut u64,
    is_newest: bool,
) -> std::io::Result<Option<u64>> {
    let mut scratch = Vec::new();
    // What is left of the file before `known`; `known` begins at the start of a block.
    let mut end = file.metadata()?.len();
    let mut known: Vec<u8> = Vec::new();
    let mut is_last = is_newest;
    while end > 0 {
        let length = (CHUNK as u64).min(end);
        let mut block = vec![0; usize::try_from(length).unwrap_or(CHUNK)];
        file.read_exact_at(&mut block, end - length)?;
        end -= length;
        block.append(&mut known);
        known = block;
        // Where the line that is looked at ends, without its line feed.
        while let Some(line_end) = memrchr(b'\n', &known) {
            let start = memrchr(b'\n', &known[..line_end]).map(|before| before + 1);
            let Some(start) = start.or((end == 0).then_some(0)) else { break };
            let parsed = format.parse(&known[start..line_end], &mut scratch);
            let whole = parsed.is_some_and(|parsed| parsed.whole);
            if whole || is_last {
                // The end of a line: all parts of it come before, and belong to it.
                if *left == 0 {
                    return Ok(Some(end + line_end as u64 + 1));
                }
                *left -= 1;
                is_last = false;
            }
            known.truncate(start);
        }
    }
    Ok(None)
}

/// Counts the lines of a file that end there.
fn count(input: &mut impl Read, format: Format) -> std::io::Result<u64> {
    let mut lines = 0;
    let mut scratch = Vec::new();
    let mut reader = std::io::BufReader::with_capacity(CHUNK, input);
    let mut line = Vec::new();
    while std::io::BufRead::read_until(&mut reader, b'\n', &mut line)? > 0 {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if let Some(parsed) = format.parse(text, &mut scratch) {
            lines += u64::from(parsed.whole);
        }
        line.clear();
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn finds_where_the_last_lines_begin() {
        let mut file = tempfile::tempfile().unwrap();
        // Longer than a block, so that lines lie across borders.
        let filler = "x".repeat(1000);
        let mut starts = Vec::new();
        let mut at = 0;
        for number in 0..1000 {
            starts.push(at);
            for (tag, text) in [("P", &*filler), ("F", &*number.to_string())] {
                let line = format!("2026-01-01T00:00:00Z stdout {tag} {text}\n");
                at += line.len() as u64;
                file.write_all(line.as_bytes()).unwrap();
            }
        }
        for wanted in [0, 1, 2, 300, 999] {
            let mut left = wanted;
            let found = start_of_last(&file, Format::Kubernetes, &mut left, true).unwrap();
            let want = starts.get(1000 - wanted as usize).copied().unwrap_or(at);
            assert_eq!(found, Some(want), "{wanted}");
        }
        for (wanted, rest) in [(1000, 0), (1005, 5)] {
            let mut left = wanted;
            assert_eq!(start_of_last(&file, Format::Kubernetes, &mut left, true).unwrap(), None);
            assert_eq!(left, rest);
        }
        file.write_all(b"2026-01-01T00:00:00Z stdout P unfinished\n").unwrap();
        let mut left = 1;
        assert_eq!(start_of_last(&file, Format::Kubernetes, &mut left, true).unwrap(), Some(at));
    }
}
