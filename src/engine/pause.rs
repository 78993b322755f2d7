//! `pause` and `unpause`: all processes of a container stand still, and go on.

use super::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::spec::id::ContainerId;
use crate::store::container::{Locked, Run, Status};
use crate::store::events::{Action, Event};

impl Engine {
    /// Freezes all processes of a running container; returns when they stand still.
    pub fn pause(&self, name: &str) -> Result<()> {
        let id = self.lookup(name)?.config.id;
        let mut locked = self.store.containers().lock(&id)?;
        let run = match &locked.state().status {
            Status::Running(run) if !run.paused => run.clone(),
            Status::Running(_) => {
                return Err(improper(format!("\"{id}\" is already paused")));
            }
            _ => {
                let word = locked.state().word();
                return Err(improper(format!("\"{id}\" is {word}, not running: cannot pause it")));
            }
        };
        let cgroup = open(&run)?;
        cgroup.freeze().context(|| format!("cannot pause container {name}"))?;
        mark(&mut locked, true).inspect_err(|_| {
            // The record says that it runs, and so it shall.
            drop(cgroup.thaw());
        })?;
        self.record_event(event(&locked, Action::Pause));
        Ok(())
    }

    /// Lets a paused container go on.
    pub fn unpause(&self, name: &str) -> Result<()> {
        let id = self.lookup(name)?.config.id;
        if self.thaw(&id).context(|| format!("cannot unpause container {name}"))? {
            return Ok(());
        }
        Err(improper(format!("\"{id}\" is not paused, can't unpause")))
    }

    /// Lets a container go on if it is paused; tells whether it was.
    ///
    /// Its record is locked for that: who sends a signal to a paused container does so before.
    pub(super) fn thaw(&self, id: &ContainerId) -> Result<bool> {
        let mut locked = self.store.containers().lock(id)?;
        let run = match &locked.state().status {
            Status::Running(run) if run.paused => run.clone(),
            _ => return Ok(false),
        };
        open(&run)?.thaw()?;
        mark(&mut locked, false)?;
        self.record_event(event(&locked, Action::Unpause));
        Ok(true)
    }
}

fn open(run: &Run) -> Result<Cgroup> {
    Cgroup::open(&Hierarchies::detect()?, &run.cgroup)
}

fn event(locked: &Locked<'_>, action: Action) -> Event {
    Event::of_named(locked.config(), &locked.state().name, action)
}

fn mark(locked: &mut Locked<'_>, paused: bool) -> Result<()> {
    locked.update(|state| {
        if let Status::Running(run) = &mut state.status {
            run.paused = paused;
        }
    })
}

fn improper(what: String) -> Error {
    Error::new(Kind::Conflict, format!("{what}: container state improper"))
}
