//! A file of whole lines, which is rotated when it is large enough.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use memchr::{memchr, memrchr};

use super::losses::Losses;
use crate::error::{Context, Result};
use crate::spec::log::LogSettings;
use crate::store::log::LogFiles;
use crate::sys::clone::{Child, exit_now, fork};
use crate::sys::process;

/// What is kept at most for those who follow the log but do not keep up.
const MOST_KEPT: u64 = 1 << 30;

/// A file of whole lines.
#[derive(Debug)]
pub(super) struct LineFile {
    files: LogFiles,
    /// None while it cannot be made.
    file: Option<File>,
    size: u64,
    limit: Option<u64>,
    keep: u64,
    compress: bool,
    /// The numbers that rotated files have: of the oldest, and of the next.
    numbers: std::ops::Range<u64>,
    compressor: Option<Child>,
    losses: Losses,
}

impl LineFile {
    /// Opens the file for more lines.
    pub(super) fn open(files: LogFiles, settings: &LogSettings, losses: Losses) -> Result<Self> {
        let path = files.path().to_owned();
        let context = || format!("cannot open the log {}", path.display());
        let (file, size) = open(&path).context(context)?;
        let rotates = settings.size_limit().is_some();
        // Who has never been rotated has no numbers to look for.
        let numbers = if rotates { files.numbers()? } else { Vec::new() };
        let next = numbers.last().map_or(1, |last| last + 1);
        Ok(Self {
            file: Some(file),
            size,
            limit: settings.size_limit(),
            keep: u64::from(settings.files()),
            compress: settings.compress,
            numbers: numbers.first().copied().unwrap_or(next)..next,
            compressor: None,
            losses,
            files,
        })
    }

    /// What could not be written.
    pub(super) fn losses(&mut self) -> &mut Losses {
        &mut self.losses
    }

    /// Appends whole lines. What cannot be written is lost, and counted.
    pub(super) fn append(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let length = self.length_that_fits(lines);
            let done = if length == 0 { self.rotate() } else { self.write(&lines[..length]) };
            if let Err(error) = done {
                self.losses.add(lines.len(), &error);
                return;
            }
            lines = &lines[length..];
        }
    }

    /// How much of these lines goes into the present file. One line does in any case.
    fn length_that_fits(&self, lines: &[u8]) -> usize {
        let Some(limit) = self.limit else { return lines.len() };
        let room = usize::try_from(limit.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        match memrchr(b'\n', &lines[..room]) {
            Some(end) => end + 1,
            None if self.size > 0 => 0,
            None => memchr(b'\n', lines).map_or(lines.len(), |end| end + 1),
        }
    }

    /// Writes lines. If only some fit on the disk, those are whole.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let (file, size) = open(self.files.path())?;
            (self.file, self.size) = (Some(file), size);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut written = 0;
        while written < lines.len() {
            match file.write(&lines[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let whole = memrchr(b'\n', &lines[..written]).map_or(0, |end| end + 1);
                    self.size += whole as u64;
                    file.set_len(self.size)?;
                    return Err(error);
                }
            }
        }
        self.size += lines.len() as u64;
        Ok(())
    }

    /// Starts a new file.
    fn rotate(&mut self) -> io::Result<()> {
        let number = self.numbers.end;
        std::fs::rename(self.files.path(), self.files.numbered(number))?;
        self.numbers.end += 1;
        self.file = None;
        self.size = 0;
        self.remove_surplus();
        if self.compress && self.keep > 1 {
            self.compress(number);
        }
        let (file, size) = open(self.files.path())?;
        (self.file, self.size) = (Some(file), size);
        Ok(())
    }

    /// Removes the oldest files, unless somebody is still about to read them.
    fn remove_surplus(&mut self) {
        // The present file is one of those that are kept.
        let kept = self.numbers.end.saturating_sub(self.keep - 1);
        if self.numbers.start >= kept {
            return;
        }
        let most = MOST_KEPT / self.limit.unwrap_or(MOST_KEPT).max(1);
        let kept = match self.files.is_followed() {
            true => kept.min(self.numbers.end.saturating_sub(most)),
            false => kept,
        };
        while self.numbers.start < kept {
            // What cannot be removed now, the removal of the container removes.
            drop(self.files.remove(self.numbers.start));
            self.numbers.start += 1;
        }
    }

    /// Has a child compress a file: that takes long.
    fn compress(&mut self, number: u64) {
        if let Some(before) = self.compressor.take() {
            let _status = process::wait(before.pidfd.as_fd());
        }
        let (plain, packed) = (self.files.numbered(number), self.files.compressed(number));
        let child = fork(|| {
            // The file stays as it is if it cannot be compressed.
            drop(process::die_with_parent().and_then(|()| compress(&plain, &packed)));
            exit_now(0)
        });
        self.compressor = child.ok();
    }
}

impl Drop for LineFile {
    fn drop(&mut self) {
        if let Some(compressor) = &self.compressor {
            let _status = process::wait(compressor.pidfd.as_fd());
        }
    }
}

/// Opens a file for more whole lines; returns it and its size.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut file =
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut size = file.metadata()?.len();
    if size > 0 {
        // Who wrote it last may have been killed within a line.
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    Ok((file, size))
}

fn compress(plain: &Path, packed: &Path) -> io::Result<()> {
    let temporary = packed.with_extension("new");
    let output =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let mut encoder = GzEncoder::new(output, Compression::fast());
    io::copy(&mut File::open(plain)?, &mut encoder)?;
    encoder.finish()?;
    std::fs::rename(&temporary, packed)?;
    std::fs::remove_file(plain)
}
