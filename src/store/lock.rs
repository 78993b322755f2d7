//! Locks: `flock(2)` on a file of the store. They end with the process that holds them.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Context, Result};

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// Waits for the lock and takes it for one holder.
    pub fn exclusive(path: &Path) -> Result<Self> {
        take(open(path)?, path, FlockOperation::LockExclusive)
    }

    /// Waits for the lock and takes it for any number of holders of this kind.
    pub fn shared(path: &Path) -> Result<Self> {
        take(open(path)?, path, FlockOperation::LockShared)
    }

    /// Takes the lock for one holder; `None` if somebody holds it.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        try_take(open(path)?, path, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the lock for any number of holders of this kind; `None` if somebody holds it alone.
    pub fn try_shared(path: &Path) -> Result<Option<Self>> {
        try_take(open(path)?, path, FlockOperation::NonBlockingLockShared)
    }

    /// Waits for the lock of an existing file; `None` if there is no such file.
    pub fn exclusive_if_exists(path: &Path) -> Result<Option<Self>> {
        let Some(file) = open_existing(path)? else { return Ok(None) };
        take(file, path, FlockOperation::LockExclusive).map(Some)
    }

    /// As [`Lock::exclusive_if_exists`], for any number of holders of this kind.
    pub fn shared_if_exists(path: &Path) -> Result<Option<Self>> {
        let Some(file) = open_existing(path)? else { return Ok(None) };
        take(file, path, FlockOperation::LockShared).map(Some)
    }

    /// Tells whether this is still the lock of a path: the file may have been replaced.
    pub fn is_at(&self, path: &Path) -> bool {
        match (rustix::fs::fstat(&self.0), rustix::fs::stat(path)) {
            (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
            _ => false,
        }
    }

    /// Tells whether somebody holds this lock for one holder. A missing file is not held.
    pub fn is_held(path: &Path) -> Result<bool> {
        let Some(file) = open_existing(path)? else { return Ok(false) };
        Ok(try_take(file, path, FlockOperation::NonBlockingLockShared)?.is_none())
    }

    /// Gives the lock up, in all processes that it was passed on to.
    pub fn release(self) {
        // It cannot fail for an open file.
        let _released = flock(&self.0, FlockOperation::Unlock);
    }

    /// Takes over a lock that another process of ours took and passed on.
    pub fn passed_on(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .context(|| format!("cannot open lock file {}", path.display()))
}

fn open_existing(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| format!("cannot open lock file {}", path.display())),
    }
}

fn take(file: File, path: &Path, operation: FlockOperation) -> Result<Lock> {
    rustix::io::retry_on_intr(|| flock(&file, operation))
        .context(|| format!("cannot lock {}", path.display()))?;
    Ok(Lock(file.into()))
}

fn try_take(file: File, path: &Path, operation: FlockOperation) -> Result<Option<Lock>> {
    match rustix::io::retry_on_intr(|| flock(&file, operation)) {
        Ok(()) => Ok(Some(Lock(file.into()))),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).context(|| format!("cannot lock {}", path.display())),
    }
}
