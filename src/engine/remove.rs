//! `rm`: removes a container and everything that is its own.

use super::{Engine, StopOptions};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::store::container::{Retired, Status};

/// How to remove.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Whether a running container is ended first.
    pub force: bool,
    /// Seconds between the stop signal and KILL for one that is ended.
    pub seconds: Option<u32>,
    /// Whether volumes that nobody has named go with it.
    pub volumes: bool,
}

impl Engine {
    /// Removes a container; returns its ID.
    pub fn remove(&self, name: &str, options: RemoveOptions) -> Result<ContainerId> {
        let id = self.store.containers().lookup(name).map_err(|error| match error.kind() {
            Kind::NotFound => {
                let missing = Error::new(
                    Kind::NotFound,
                    format!("no container with ID or name \"{name}\" found: no such container"),
                );
                match error.hint_text() {
                    Some(hint) => missing.hint(hint),
                    None => missing,
                }
            }
            _ => error,
        })?;
        let locked = loop {
            // Removed by somebody else, or because it was to be when it ended.
            let container = match self.repaired(&id) {
                Err(error) if error.kind() == Kind::NotFound => return Ok(id),
                other => other?,
            };
            let status = &container.state.status;
            if status.monitored().is_some() {
                let waits = matches!(status, Status::Initialized(_));
                if !waits && !options.force {
                    return Err(improper(&id, container.state.word()));
                }
                // It is not stopped in vain.
                let dependants = self.store.containers().dependants(&id)?;
                if !dependants.is_empty() {
                    return Err(depended_on(&id, &dependants));
                }
                self.stop_container(&container, StopOptions::from(options.seconds))
                    .context(|| format!("cannot stop container {name}"))?;
                continue;
            }
            let locked = match self.store.containers().lock(&id) {
                Err(error) if error.kind() == Kind::NotFound => return Ok(id),
                other => other?,
            };
            let dependants = self.store.containers().dependants(&id)?;
            if !dependants.is_empty() {
                return Err(depended_on(&id, &dependants));
            }
            // While we waited for the lock, somebody may have started it.
            if locked.state().status.monitored().is_none() {
                // It has ended, but may have something mounted yet.
                self.store.containers().wait_unmonitored(&id)?;
                break locked;
            }
        };
        self.unmount_for_good(&id, options.force)
            .context(|| format!("cannot remove container {name}"))?;
        self.free_leftovers(&id)?;
        let volumes = options.volumes || locked.config().settings.remove;
        self.take_off_record(locked, volumes)
            .and_then(Retired::erase)
            .context(|| format!("cannot remove container {name}"))?;
        // What was cut off is finished by the next who removes something. It is no part of this, and
        // must not look into each of the other containers: who lists them finds what was half made.
        drop(self.store.containers().finish_removals());
        Ok(id)
    }

    /// Removes a container, and before it all that are in its namespaces. Returns the IDs of those.
    pub fn remove_with_dependants(
        &self,
        name: &str,
        options: RemoveOptions,
    ) -> Result<Vec<ContainerId>> {
        let mut removed = Vec::new();
        // A name that is not there is told by the removal itself.
        if let Ok(id) = self.store.containers().lookup(name) {
            for dependant in self.store.containers().dependants(&id)? {
                removed.append(&mut self.remove_with_dependants(dependant.as_str(), options)?);
                removed.push(dependant);
            }
        }
        self.remove(name, options)?;
        Ok(removed)
    }
}

fn depended_on(id: &ContainerId, dependants: &[ContainerId]) -> Error {
    let list: Vec<&str> = dependants.iter().map(ContainerId::as_str).collect();
    Error::new(
        Kind::Invalid,
        format!(
            "container {id} has dependent containers which must be removed before it: {}: container already exists",
            list.join(", ")
        ),
    )
    .hint("they are in its namespaces; remove them first, or pass --depend")
}

fn improper(id: &ContainerId, word: &str) -> Error {
    Error::new(
        Kind::Conflict,
        format!(
            "cannot remove container {id} as it is {word} - running or paused containers cannot be removed without force: container state improper"
        ),
    )
    .hint("stop it first, or pass --force")
}
