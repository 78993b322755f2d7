//! Who is in the user namespace that a user's processes share.
//!
//! ```text
//! RUNROOT/userns/PID               the start time of a process that is in it
//! RUNROOT/userns.lock              held by who joins it, or makes one
//! ```
//!
//! There is nobody who only keeps it: it lasts as long as one of these processes does.

use std::path::{Path, PathBuf};

use super::file;
use crate::error::Result;
use crate::sys::process;

/// Tells others that this process is in the namespace, for as long as this is kept.
#[derive(Debug)]
pub struct Mark(PathBuf);

impl Mark {
    /// Returns the directory of all marks.
    pub fn directory(runroot: &Path) -> PathBuf {
        runroot.join("userns")
    }

    /// Records that this process is in the namespace, for others to join it.
    pub fn set(runroot: &Path) -> Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let path = Self::directory(runroot).join(pid.to_string());
        let started = process::start_time(pid).unwrap_or(0);
        file::write_volatile(&path, started.to_string().as_bytes())?;
        Ok(Self(path))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // One that is left over is removed by the next command that meets it.
        drop(file::remove_file(&self.0));
    }
}
