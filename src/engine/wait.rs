//! `wait`: until something is so of a container.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use super::Engine;
use super::health::no_check;
use super::session::Session;
use crate::error::{Context, Kind, Result};
use crate::spec::id::ContainerId;
use crate::store::container::{Container, Run};
use crate::store::health::HealthStatus;

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
    /// It was never started; as with `Running`.
    Created,
    /// It is all there but its program; as with `Running`.
    Initialized,
    /// It stands still; as with `Running`.
    Paused,
    /// Somebody has asked it to end; as with `Running`.
    Stopping,
    /// Its health check says that it is well; as with `Running`.
    Healthy,
    /// Its health check says that it is not well; as with `Running`.
    Unhealthy,
}

impl Condition {
    /// Returns what to say of a container that is so; `None` if it is not so.
    fn holds(self, container: &Container) -> Option<i32> {
        let state = &container.state;
        let health = container.health.as_ref().map(|health| health.status);
        let word = state.word();
        let holds = match self {
            Self::NotRunning => {
                return state.status.monitored().is_none().then_some(state.exit_code);
            }
            // That is heard, or seen when it is gone.
            Self::NextExit | Self::Removed => false,
            Self::Running => state.run().is_some(),
            Self::Created => word == "created",
            Self::Initialized => word == "initialized",
            Self::Paused => word == "paused",
            Self::Stopping => word == "stopping",
            Self::Healthy => health == Some(HealthStatus::Healthy),
            Self::Unhealthy => health == Some(HealthStatus::Unhealthy),
        };
        holds.then_some(-1)
    }

    fn is_of_health(self) -> bool {
        matches!(self, Self::Healthy | Self::Unhealthy)
    }

    fn is_an_end(self) -> bool {
        matches!(self, Self::NotRunning | Self::NextExit)
    }
}

impl Engine {
    /// Waits until one of the conditions holds, and returns the container's exit code.
    pub fn wait(&self, name: &str, conditions: &[Condition]) -> Result<i32> {
        let waiter = Waiter::new(self, name, conditions)?;
        first_of(vec![waiter])
    }

    /// As [`Engine::wait`]; `ready` is called as soon as nothing can be missed any more.
    pub fn wait_when_ready(
        &self,
        name: &str,
        condition: Condition,
        ready: impl FnOnce() -> Result<()>,
    ) -> Result<i32> {
        let conditions = [condition];
        let waiter = Waiter::new(self, name, &conditions)?;
        ready()?;
        first_of(vec![waiter])
    }

    /// As [`Engine::wait`], for the first of several containers.
    pub fn wait_for_first(&self, names: &[String], conditions: &[Condition]) -> Result<i32> {
        let waiters = names.iter().map(|name| Waiter::new(self, name, conditions));
        first_of(waiters.collect::<Result<_>>()?)
    }
}

/// Returns what the first that is through says.
fn first_of(mut waiters: Vec<Waiter<'_>>) -> Result<i32> {
    loop {
        for waiter in &mut waiters {
            if let Some(code) = waiter.step()? {
                return Ok(code);
            }
        }
        let mut files: Vec<PollFd<'_>> = Vec::new();
        for waiter in &waiters {
            let session = waiter.session.as_ref().map(|(_, session)| session.socket());
            for file in waiter.watcher.iter().chain(session) {
                files.push(PollFd::new(file, PollFlags::IN));
            }
        }
        match poll(&mut files, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context(|| "cannot wait for containers"),
        }
    }
}

/// Who waits for one container: for changes of its record, and for the word of its monitor, which is
/// all that is left of one that is removed when it ends.
struct Waiter<'a> {
    engine: &'a Engine,
    id: ContainerId,
    conditions: &'a [Condition],
    /// Tells of changes of the record; `None` once that is gone.
    watcher: Option<OwnedFd>,
    session: Option<(Run, Session)>,
    /// The last exit code that was heard.
    code: Option<i32>,
    /// When its last run ended, as we began to wait.
    finished: i64,
}

impl<'a> Waiter<'a> {
    fn new(engine: &'a Engine, name: &str, conditions: &'a [Condition]) -> Result<Self> {
        let id = engine.store.containers().lookup(name)?;
        // Before the first look: no change is missed.
        let watcher = watch(engine, &id)?;
        let container = engine.repaired(&id)?;
        if conditions.iter().any(|condition| condition.is_of_health())
            && container.config.health.is_none()
        {
            return Err(no_check(&id));
        }
        let finished = container.state.finished;
        Ok(Self { engine, id, conditions, watcher, session: None, code: None, finished })
    }

    /// Looks once; `None` if there is more to wait for.
    fn step(&mut self) -> Result<Option<i32>> {
        if let Some(watcher) = &self.watcher {
            drain(watcher);
        }
        loop {
            if let Some((_, session)) = &mut self.session {
                match session.wait(Some(0)) {
                    Ok(Some(heard)) => {
                        self.code = Some(heard);
                        if self.conditions.iter().any(|condition| condition.is_an_end()) {
                            return Ok(Some(heard));
                        }
                        continue;
                    }
                    Ok(None) => {}
                    // The monitor has gone: the record tells.
                    Err(error) if error.kind() == Kind::Unavailable => self.session = None,
                    Err(error) => return Err(error),
                }
            }
            let container = match self.engine.repaired(&self.id) {
                Err(error) if error.kind() == Kind::NotFound => return self.last_word().map(Some),
                other => other?,
            };
            let state = &container.state;
            if let Some(code) = self.conditions.iter().find_map(|it| it.holds(&container)) {
                return Ok(Some(code));
            }
            let Some(run) = state.status.monitored() else {
                self.session = None;
                self.code = Some(state.exit_code);
                // A run that was over before its monitor could be asked.
                let is_over = self.conditions.contains(&Condition::NextExit)
                    && state.finished != self.finished;
                return Ok(is_over.then_some(state.exit_code));
            };
            if self.session.as_ref().is_some_and(|(known, _)| known.monitor == run.monitor) {
                return Ok(None);
            }
            let session = self.engine.watch(&self.id, run)?;
            self.session = session.map(|session| (run.clone(), session));
        }
    }

    /// Returns the exit code of a container that is gone. If it ended before its monitor had heard of
    /// us, only the events know.
    fn last_word(&self) -> Result<i32> {
        match self.code {
            Some(code) => Ok(code),
            None => Ok(self.engine.exit_code_in_events(&self.id)?.unwrap_or(0)),
        }
    }
}

/// Watches a container's directory; `None` if it is gone.
pub(super) fn watch(engine: &Engine, id: &ContainerId) -> Result<Option<OwnedFd>> {
    let dir = engine.store.containers().dir(id);
    let context = || format!("cannot watch {}", dir.display());
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watcher = inotify::init(flags).context(context)?;
    let events = inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::MOVE_SELF
        | inotify::WatchFlags::DELETE_SELF;
    match inotify::add_watch(&watcher, &dir, events) {
        Err(Errno::NOENT) => Ok(None),
        other => other.context(context).map(|_| Some(watcher)),
    }
}

/// Takes what was told of changes: how it is now counts, not how it came to be.
pub(super) fn drain(watcher: &OwnedFd) {
    let mut events = [0; 4096];
    while rustix::io::read(watcher, &mut events[..]).is_ok() {}
}

/// Waits until a container that is watched has changed, for some time at most.
pub(super) fn wait_for_change(watcher: &OwnedFd, time: Duration) -> Result<()> {
    let context = || "cannot wait for a change of the container";
    let time = Timespec::try_from(time).map_err(std::io::Error::other).context(context)?;
    match poll(&mut [PollFd::new(watcher, PollFlags::IN)], Some(&time)) {
        Ok(_) | Err(Errno::INTR) => drain(watcher),
        Err(error) => return Err(error).context(context),
    }
    Ok(())
}
