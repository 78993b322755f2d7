//! The end of a run: what is recorded, what is freed, and by whom if the monitor has died.

use super::{Engine, now};
use crate::error::{Error, Kind, Result};
use crate::net;
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::spec::id::ContainerId;
use crate::store::container::{Container, ContainerConfig, Locked, Retired, Run, Status};
use crate::store::events::{Action, Event};
use crate::sys::process;

/// How a run ended.
#[derive(Clone, Debug)]
pub(super) struct Exit {
    /// Exit code, or 128 and the signal.
    pub(super) code: i32,
    /// Whether the kernel ended it for lack of memory.
    pub(super) oom_killed: bool,
    /// What went wrong on our side.
    pub(super) error: Option<String>,
    /// Whether it ran at all.
    pub(super) started: bool,
}

impl Exit {
    /// The end of a run that never began.
    pub(super) fn not_started(error: &Error) -> Self {
        Self {
            code: exit_code_of(error.kind()),
            oom_killed: false,
            error: Some(error.to_string()),
            started: false,
        }
    }

    /// The end of a container whose program was not let run.
    pub(super) fn abandoned() -> Self {
        Self { code: 137, oom_killed: false, error: None, started: false }
    }

    pub(super) fn was_started(&self) -> bool {
        self.started
    }

    /// What has happened to a container that ended so.
    pub(super) fn events(&self, config: &ContainerConfig, name: &str) -> Vec<Event> {
        if !self.started {
            return Vec::new();
        }
        let event = |action| Event::of_named(config, name, action);
        let died = event(Action::Died).with("exitCode", self.code);
        let oom = self.oom_killed.then(|| event(Action::Oom));
        oom.into_iter().chain([died, event(Action::Cleanup)]).collect()
    }
}

/// The exit code of a container that could not be started.
pub(super) fn exit_code_of(kind: Kind) -> i32 {
    match kind {
        Kind::CommandNotFound => 127,
        Kind::CommandNotExecutable => 126,
        _ => 125,
    }
}

/// Records the end of a run, and takes the container off the record if that was asked for.
pub(super) fn record(engine: &Engine, id: &ContainerId, exit: &Exit) -> Result<Option<Retired>> {
    let mut locked = engine.store.containers().lock(id)?;
    let ended = exit.events(locked.config(), &locked.state().name);
    engine.record_events(&ended);
    // Others need it: it stays for them.
    let needed = !engine.store.containers().dependants(id)?.is_empty();
    if locked.config().settings.remove && !needed {
        return engine.take_off_record(locked, true).map(Some);
    }
    locked.update(|state| {
        state.status = Status::Exited;
        state.stopping = false;
        state.exit_code = exit.code;
        state.oom_killed = exit.oom_killed;
        state.error.clone_from(&exit.error);
        state.finished = now();
        state.network = None;
    })?;
    Ok(None)
}

fn gone(id: &ContainerId) -> Error {
    Error::new(
        Kind::NotFound,
        format!("no container with name or ID \"{id}\" found: no such container"),
    )
}

impl Engine {
    /// Takes a container off the record: it is gone, but for its files. With `volumes`, those that nobody
    /// has named go with it.
    pub(super) fn take_off_record(&self, locked: Locked<'_>, volumes: bool) -> Result<Retired> {
        // What is erased must not be a mount; nobody is asked any more.
        self.unmount_for_good(&locked.config().id, true)?;
        let config = volumes.then(|| locked.config().clone());
        let event = Event::of_named(locked.config(), &locked.state().name, Action::Remove);
        let retired = locked.retire()?;
        self.record_event(event);
        if let Some(config) = config {
            self.remove_anonymous_volumes(&config)?;
        }
        Ok(retired)
    }

    /// Reads a container; if its monitor has died, records that first.
    pub(super) fn repaired(&self, id: &ContainerId) -> Result<Container> {
        let container = self.store.containers().get(id)?.ok_or_else(|| gone(id))?;
        self.repaired_now(container)
    }

    /// As [`repaired`](Self::repaired), for one that was just read.
    pub(super) fn repaired_now(&self, container: Container) -> Result<Container> {
        let Some(run) = container.state.status.monitored() else { return Ok(container) };
        let (containers, id) = (self.store.containers(), container.id());
        if containers.is_monitored(id)? {
            return Ok(container);
        }
        self.repair(id, run)?;
        containers.get(id)?.ok_or_else(|| gone(id))
    }

    /// Ends a run whose monitor was killed: nothing of it may be left.
    fn repair(&self, id: &ContainerId, seen: &Run) -> Result<()> {
        let containers = self.store.containers();
        let mut locked = containers.lock(id)?;
        let Some(run) = locked.state().status.monitored() else { return Ok(()) };
        // Somebody else has repaired it, and it was started again.
        if run != seen || containers.is_monitored(id)? {
            return Ok(());
        }
        let run = run.clone();
        let same_boot = process::boot_id().is_ok_and(|boot| boot == run.boot_id);
        if same_boot {
            // The kernel has killed it with its monitor, or is about to.
            if let Ok(Some(process)) = process::open(run.pid, run.start_time) {
                let _gone = process::send_signal(&process, libc::SIGKILL);
            }
        }
        // After a reboot there is nothing to free; but then looking for it costs nothing, and whoever
        // cannot read the boot ID leaves nothing behind.
        self.free(id, &run.cgroup)?;
        let started = !matches!(locked.state().status, Status::Initialized(_));
        let exit = Exit { code: 137, oom_killed: false, error: None, started };
        self.record_events(&exit.events(locked.config(), &locked.state().name));
        if locked.config().settings.remove {
            return self.take_off_record(locked, true)?.erase();
        }
        locked.update(|state| {
            state.status = Status::Exited;
            state.stopping = false;
            state.exit_code = 137;
            state.error = Some(
                if same_boot {
                    "the container's monitor was killed, and the container with it"
                } else {
                    "the machine was restarted while the container ran"
                }
                .to_owned(),
            );
            state.finished = now();
            state.network = None;
        })
    }

    /// Frees what a container that does not run may still hold: a monitor that was killed between
    /// two steps has left it.
    pub(super) fn free_leftovers(&self, id: &ContainerId) -> Result<()> {
        let hierarchies = Hierarchies::detect()?;
        let path = match self.store.containers().get(id)? {
            // One of a group that is gone has none either.
            Some(container) => self.group_of(&container.config, &hierarchies).unwrap_or_default(),
            None => hierarchies.path_for(id.as_str(), self.host.rootless),
        };
        self.free(id, &path)
    }

    fn free(&self, id: &ContainerId, cgroup: &str) -> Result<()> {
        let opened = Hierarchies::detect().and_then(|found| Cgroup::open(&found, cgroup));
        if let Ok(cgroup) = opened {
            let _none_left = cgroup.kill_all(libc::SIGKILL);
            // An empty directory that cannot be removed now is used again by the next start.
            drop(cgroup.remove());
        }
        self.forget_secrets(id)?;
        self.release_volumes(id)?;
        net::detach(&self.store, id)
    }
}
