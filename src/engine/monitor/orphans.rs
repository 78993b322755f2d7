//! Processes that come to the monitor because who made them is gone.
//!
//! What watches over a probe may be killed: then the probe itself becomes the monitor's child, as all
//! descendants without a parent do. It has to be waited for like any child, or it would stay as a
//! zombie in the container's process namespace, and the container's first process does not end before
//! all others are gone for good.

use std::os::fd::{AsFd, BorrowedFd};

use super::Monitor;
use super::launch::Running;
use crate::error::{Context, Result};
use crate::sys::process;
use crate::sys::signal::Signals;

/// News of children that have ended.
#[derive(Debug)]
pub(super) struct Orphans(Signals);

impl Orphans {
    /// Makes this process the parent of those of its descendants that have none.
    pub(super) fn adopt() -> Result<Self> {
        process::become_subreaper().context(|| "cannot adopt the container's helpers")?;
        Signals::new(&[libc::SIGCHLD]).context(|| "cannot watch for children that end").map(Self)
    }
}

impl Orphans {
    /// Takes the news that have come.
    pub(super) fn take_news(&self) {
        while let Ok(Some(_)) = self.0.next() {}
    }
}

impl AsFd for Orphans {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Monitor {
    /// Waits for all children that have ended, but for those whose end somebody else asks for: the
    /// container's first process, and what watches over a probe.
    ///
    /// Who asks looks after the news were taken and before this does: one that is in the way here has
    /// ended since, so there is more news to come.
    pub(super) fn reap(&self, running: &Running) {
        while let Ok(Some(pid)) = process::ended_child() {
            if pid == running.child.pid || self.timers.is_probe(pid) || process::reap(pid).is_err()
            {
                return;
            }
        }
    }
}
