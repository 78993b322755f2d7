//! Holding a container still while something looks at its files.
//!
//! Whoever holds it may be killed, and the container must go on all the same. So a process of its own
//! waits for the holder's end, whatever that is, and is the only one that lets the container go on:
//! unless somebody has paused it meanwhile.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::spec::id::ContainerId;
use crate::store::container::{Container, Run};
use crate::sys::clone::{Child, exit_now, fork};
use crate::sys::process;

/// The number of the pipe's end in the waiting process.
const END: i32 = 3;

/// A container that stands still until this is dropped.
pub(super) struct Hold {
    end: Option<OwnedFd>,
    waiting: Child,
}

impl Hold {
    /// Stops all processes of a container; `None` if it does not run, or is paused anyway.
    ///
    /// This process must have a single thread.
    pub(super) fn begin(engine: &Engine, container: &Container) -> Result<Option<Self>> {
        let Some(run) = container.state.run().filter(|run| !run.paused) else { return Ok(None) };
        let context = || "cannot make a process that lets the container go on";
        let (theirs, end) = pipe_with(PipeFlags::CLOEXEC).context(context)?;
        let id = container.id();
        let waiting = fork(|| {
            wait_for_end(&theirs);
            // The next `unpause` or `stop` can do it, too.
            drop(let_go(engine, id, run));
            exit_now(0)
        })
        .context(context)?;
        // It is dropped on failure, which lets the container go on if it was stopped.
        let hold = Self { end: Some(end), waiting };
        let locked = engine.store.containers().lock(id)?;
        let is_same = |now: &Run| now == run && !now.paused;
        if !locked.state().run().is_some_and(is_same) {
            return Ok(None);
        }
        group(run)?.freeze()?;
        Ok(Some(hold))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        drop(self.end.take());
        // If it was killed, there is nothing to wait for.
        drop(process::wait(self.waiting.pidfd.as_fd()));
    }
}

/// Keeps nothing of what this process has, and waits until the other end of the pipe is closed.
fn wait_for_end(pipe: &OwnedFd) {
    // What ends the other process is not for this one.
    let _new_session = rustix::process::setsid();
    if process::redirect(pipe.as_fd(), END).is_err() || process::close_from(4).is_err() {
        return;
    }
    if let Ok(pipe) = process::inherited(END) {
        drop(File::from(pipe).read(&mut [0]));
    }
}

fn group(run: &Run) -> Result<Cgroup> {
    Hierarchies::detect().and_then(|found| Cgroup::open(&found, &run.cgroup))
}

fn let_go(engine: &Engine, id: &ContainerId, run: &Run) -> Result<()> {
    let locked = engine.store.containers().lock(id)?;
    match locked.state().run() {
        Some(now) if now.paused => Ok(()),
        _ => group(run)?.thaw(),
    }
}
