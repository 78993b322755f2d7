//! `wait`: until a container ends.

use super::Engine;
use crate::error::{Kind, Result};
use crate::store::container::Status;

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It does not run.
    #[default]
    NotRunning,
    /// It ends once more.
    NextExit,
    /// It is gone.
    Removed,
    /// It runs; there is no exit code then, and -1 stands for it.
    Running,
}

impl Engine {
    /// Waits, and returns the container's exit code.
    pub fn wait(&self, name: &str, condition: Condition) -> Result<i32> {
        let id = self.store.containers().lookup(name)?;
        let mut code = 0;
        loop {
            let container = match self.repaired(&id) {
                // Removed when it ended: the code was heard before.
                Err(error) if error.kind() == Kind::NotFound => return Ok(code),
                other => other?,
            };
            let run = match &container.state.status {
                Status::Running(_) if condition == Condition::Running => return Ok(-1),
                Status::Running(run) | Status::Restarting(run) => run,
                Status::Created | Status::Exited if condition == Condition::NotRunning => {
                    return Ok(container.state.exit_code);
                }
                Status::Created | Status::Exited => {
                    self.wait_for_change(&id)?;
                    continue;
                }
            };
            let Some(mut session) = self.watch(&id, run)? else { continue };
            match session.wait(None) {
                Ok(Some(heard)) => {
                    code = heard;
                    if matches!(condition, Condition::NotRunning | Condition::NextExit) {
                        return Ok(code);
                    }
                }
                Ok(None) => {}
                // The monitor has gone: the record tells.
                Err(error) if error.kind() == Kind::Unavailable => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until something happens in a container's directory.
    fn wait_for_change(&self, id: &crate::spec::id::ContainerId) -> Result<()> {
        use crate::error::Context;
        use rustix::fs::inotify;
        let dir = self.store.containers().dir(id);
        let context = || format!("cannot watch {}", dir.display());
        let watcher = inotify::init(inotify::CreateFlags::CLOEXEC).context(context)?;
        let events = inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::DELETE_SELF
            | inotify::WatchFlags::ONESHOT;
        match inotify::add_watch(&watcher, &dir, events) {
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            other => other.context(context)?,
        };
        // It may have changed before the watch was there.
        match self.repaired(id) {
            Ok(container) if matches!(container.state.status, Status::Created | Status::Exited) => {
            }
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            _ => return Ok(()),
        }
        let mut event = [0; 512];
        rustix::io::retry_on_intr(|| rustix::io::read(&watcher, &mut event[..]))
            .context(context)
            .map(drop)
    }
}
