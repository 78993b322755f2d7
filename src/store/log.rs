//! The files of a container's log.
//!
//! `log` is being written. When it is large enough, it becomes `log.N`, where N is one more than that
//! of the one before (`log.N.gz` once it is compressed). Files never change their number, so a reader
//! that has come to the end of one knows which is next, however many have come and gone meanwhile.
//!
//! Who follows a log holds the lock `followers`, shared: until it lets go nothing is removed, so that
//! it misses nothing. The lock ends with the process, and the next rotation removes what is too much.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::container::{ContainerConfig, Containers};
use super::file;
use super::lock::Lock;
use crate::error::{Context, Result};
use crate::spec::id::ContainerId;

/// The files of one log.
#[derive(Clone, Debug)]
pub struct LogFiles {
    path: PathBuf,
    followers: PathBuf,
}

/// A rotated file.
#[derive(Debug)]
pub enum Rotated {
    /// As it was written.
    Plain(File),
    /// Compressed by gzip.
    Compressed(File),
}

impl Containers<'_> {
    /// Announces that a container that ends now will be started again, until the lock is dropped.
    pub fn announce_restart(&self, id: &ContainerId) -> Result<Lock> {
        let dir = self.run_dir(id);
        file::create_dirs(&dir, 0o700)?;
        Lock::shared(&dir.join("restart"))
    }

    /// Tells whether somebody is about to start a container again.
    pub fn is_restarting(&self, id: &ContainerId) -> bool {
        let path = self.run_dir(id).join("restart");
        path.exists() && matches!(Lock::try_exclusive(&path), Ok(None))
    }

    /// Returns the log files of a container, whether they are there or not.
    pub fn log_files(&self, config: &ContainerConfig) -> LogFiles {
        let dir = self.dir(&config.id);
        let path = config.settings.log.path.clone().unwrap_or_else(|| dir.join("log"));
        LogFiles { path, followers: dir.join("followers") }
    }
}

impl LogFiles {
    /// Returns the file that is written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where a rotated file is.
    pub fn numbered(&self, number: u64) -> PathBuf {
        self.with(&format!(".{number}"))
    }

    /// Returns where a rotated file is once it is compressed.
    pub fn compressed(&self, number: u64) -> PathBuf {
        self.with(&format!(".{number}.gz"))
    }

    fn with(&self, end: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(end);
        path.into()
    }

    /// Returns the numbers of the rotated files, the oldest first.
    pub fn numbers(&self) -> Result<Vec<u64>> {
        let dir = self.path.parent().unwrap_or(&self.path);
        let context = || format!("cannot list {}", dir.display());
        let start = format!("{}.", self.path.file_name().unwrap_or_default().to_string_lossy());
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir).context(context)? {
            let name = entry.context(context)?.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(&start));
            let number =
                rest.and_then(|rest| rest.strip_suffix(".gz").unwrap_or(rest).parse::<u64>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        // One that is just being compressed is there twice.
        numbers.dedup();
        Ok(numbers)
    }

    /// Opens a rotated file; `None` if there is none of that number.
    pub fn open(&self, number: u64) -> Result<Option<Rotated>> {
        if let Some(file) = open(&self.numbered(number))? {
            return Ok(Some(Rotated::Plain(file)));
        }
        Ok(open(&self.compressed(number))?.map(Rotated::Compressed))
    }

    /// Tells whether there is a rotated file of that number.
    pub fn is_rotated(&self, number: u64) -> bool {
        self.numbered(number).exists() || self.compressed(number).exists()
    }

    /// Opens the file that is written to; `None` if there is none.
    pub fn open_current(&self) -> Result<Option<File>> {
        open(&self.path)
    }

    /// Removes a rotated file.
    pub fn remove(&self, number: u64) -> Result<()> {
        file::remove_file(&self.numbered(number))?;
        file::remove_file(&self.compressed(number))
    }

    /// Keeps all files from being removed, until the lock is dropped.
    pub fn follow(&self) -> Result<Lock> {
        Lock::shared(&self.followers)
    }

    /// Tells whether somebody follows the log.
    pub fn is_followed(&self) -> bool {
        self.followers.exists() && matches!(Lock::try_exclusive(&self.followers), Ok(None))
    }

    /// Returns the directories in which files come and go.
    pub fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
    }
}
