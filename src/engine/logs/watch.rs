//! Waiting for more: files of logs and records that change, monitors that end.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, WatchFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::engine::Engine;
use crate::error::{Context, Kind, Result};
use crate::store::container::{Container, Containers};

/// What is waited for.
pub(super) struct Watch {
    changes: OwnedFd,
    /// The monitors: one that is killed says nothing more.
    monitors: Vec<(i32, OwnedFd)>,
    /// Whether one has ended that somebody is about to start again.
    restarting: bool,
}

/// How often it is looked whether one that was to be started again is not.
const RESTART: Duration = Duration::from_millis(100);

impl Watch {
    /// Begins to watch, before anything is read: what comes meanwhile is noticed.
    pub(super) fn new(store: &Containers<'_>, containers: &[Container]) -> Result<Self> {
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .context(|| "cannot watch files")?;
        for container in containers {
            watch(&changes, &store.dir(container.id()))?;
            if let Some(path) = &container.config.settings.log.path {
                watch(&changes, path.parent().unwrap_or(path))?;
            }
        }
        Ok(Self { changes, monitors: Vec::new(), restarting: false })
    }

    /// Tells whether any of the containers may still write.
    pub(super) fn look(&mut self, engine: &Engine, containers: &[Container]) -> Result<bool> {
        let mut monitors = Vec::new();
        self.restarting = false;
        for container in containers {
            // First this: who has started it again lets go.
            let restarting = engine.store.containers().is_restarting(container.id());
            match engine.repaired(container.id()) {
                Ok(container) => match monitor(&container) {
                    Some(pid) => monitors.push(pid),
                    None => self.restarting |= restarting,
                },
                // It was removed when it ended.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.monitors.retain(|(pid, _)| monitors.contains(pid));
        for pid in &monitors {
            if self.monitors.iter().all(|(known, _)| known != pid)
                && let Some(number) = Pid::from_raw(*pid)
                // One that has just gone has changed the record before.
                && let Ok(opened) = pidfd_open(number, PidfdFlags::empty())
            {
                self.monitors.push((*pid, opened));
            }
        }
        Ok(!monitors.is_empty() || self.restarting)
    }

    /// Waits until something has changed, for so many nanoseconds at most.
    pub(super) fn wait<'a>(
        &self,
        left: Option<i64>,
        news: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> Result<()> {
        let left = left.map(|left| Duration::from_nanos(u64::try_from(left).unwrap_or(0)));
        let again = self.restarting.then_some(RESTART);
        let left = [left, again].into_iter().flatten().min().map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut files = vec![PollFd::new(&self.changes, PollFlags::IN)];
        files.extend(news.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)));
        files.extend(self.monitors.iter().map(|(_, file)| PollFd::new(file, PollFlags::IN)));
        match poll(&mut files, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context(|| "cannot wait for output"),
        }
        // What has changed is of no interest: everything is looked at.
        let mut events = [0; 4096];
        while rustix::io::read(&self.changes, &mut events[..]).is_ok_and(|length| length > 0) {}
        Ok(())
    }
}

/// Returns the monitor of a container that may still write.
fn monitor(container: &Container) -> Option<i32> {
    container.state.status.monitored().map(|run| run.monitor)
}

fn watch(changes: &OwnedFd, dir: &Path) -> Result<()> {
    let events = WatchFlags::MODIFY
        | WatchFlags::CREATE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVE_SELF
        | WatchFlags::DELETE_SELF;
    inotify::add_watch(changes, dir, events)
        .map(drop)
        .context(|| format!("cannot watch {}", dir.display()))
}
