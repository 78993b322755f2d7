//! The log file: one line of output, one line of the file, as Kubernetes writes it.
//!
//! `TIME STREAM TAG TEXT`: the tag is `F` for a whole line and `P` for a part of one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::spec::container::{LogDriver, LogSettings};
use crate::spec::time;

/// Where a container's output is kept.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<File>,
    path: PathBuf,
    settings: LogSettings,
    size: u64,
    buffer: Vec<u8>,
}

/// Which of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Log {
    /// Opens the log of a container for more.
    pub(super) fn open(path: &Path, settings: &LogSettings) -> io::Result<Self> {
        let file = match settings.driver {
            LogDriver::None => None,
            LogDriver::K8sFile => Some(open(path)?),
        };
        let size = match &file {
            Some(file) => file.metadata()?.len(),
            None => 0,
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            settings: settings.clone(),
            size,
            buffer: Vec::new(),
        })
    }

    /// Writes what was read at once from one of the outputs.
    pub(super) fn write(&mut self, stream: Stream, data: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let head = format!(
            "{} {} ",
            time::rfc3339(super::super::now()),
            match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            }
        );
        self.buffer.clear();
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            self.buffer.extend_from_slice(head.as_bytes());
            let (tag, text) = match line.strip_suffix(b"\n") {
                Some(text) => (b"F ", text),
                None => (b"P ", line),
            };
            self.buffer.extend_from_slice(tag);
            self.buffer.extend_from_slice(text);
            self.buffer.push(b'\n');
        }
        file.write_all(&self.buffer)?;
        self.size += self.buffer.len() as u64;
        match self.settings.max_size {
            Some(most) if self.size >= most => self.rotate(),
            _ => Ok(()),
        }
    }

    /// Starts a new file; older ones get higher numbers, the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        let kept = self.settings.max_file.unwrap_or(1).max(1);
        let numbered = |number: u32| match number {
            0 => self.path.clone(),
            number => self.path.with_extension(number.to_string()),
        };
        for number in (0..kept.saturating_sub(1)).rev() {
            match std::fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if kept == 1 {
            std::fs::remove_file(&self.path)?;
        }
        self.file = Some(open(&self.path)?);
        self.size = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
