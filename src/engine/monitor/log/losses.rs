//! What could not be written: a full disk or a journal that stands still must not stop a container.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::store::file;

/// How often the note is written at most: many lines may be lost one by one.
const INTERVAL: Duration = Duration::from_millis(100);

/// Counts what is lost, and leaves a note for `logs`.
#[derive(Debug)]
pub(super) struct Losses {
    bytes: u64,
    reason: String,
    note: PathBuf,
    /// When the note was written, and of how many bytes it tells.
    noted: Option<(Instant, u64)>,
}

impl Losses {
    /// Begins to count. `note` is the file that will tell.
    pub(super) fn new(note: PathBuf) -> Result<Self> {
        file::remove_file(&note)?;
        Ok(Self { bytes: 0, reason: String::new(), note, noted: None })
    }

    /// Counts how much more was lost, and why.
    pub(super) fn add(&mut self, bytes: usize, error: &io::Error) {
        self.bytes += bytes as u64;
        if self.noted.is_none_or(|(time, _)| time.elapsed() >= INTERVAL) {
            self.reason = error.to_string();
            self.write();
        }
    }

    /// Writes the note if it does not tell of all.
    pub(super) fn end(&mut self) {
        if self.noted.is_some_and(|(_, bytes)| bytes != self.bytes) {
            self.write();
        }
    }

    fn write(&mut self) {
        let (bytes, reason) = (self.bytes, &self.reason);
        let text = format!("{bytes} bytes of output could not be written to the log: {reason}");
        // That disk may be full, too. Then nobody can be told.
        drop(file::write_volatile(&self.note, text.as_bytes()));
        self.noted = Some((Instant::now(), bytes));
    }
}
