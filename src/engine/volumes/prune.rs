//! `volume prune`: volumes that no container has go.

use super::remove::Retirement;
use super::{VolumeUse, list, size};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::store::events::{Action, Event, Object};

/// What a prune of volumes did.
#[derive(Debug, Default)]
pub struct PrunedVolumes {
    /// The names of those that are gone.
    pub names: Vec<String>,
    /// What could not be removed.
    pub failures: Vec<Error>,
    /// Bytes that are free now.
    pub bytes: u64,
}

impl Engine {
    /// Removes the volumes that no container has and that are `wanted`.
    pub fn prune_volumes(
        &self,
        wanted: impl Fn(&VolumeUse) -> Result<bool>,
    ) -> Result<PrunedVolumes> {
        let mut pruned = PrunedVolumes::default();
        self.store.gc_tmp()?;
        for found in list(&self.store)? {
            if !wanted(&found)? {
                continue;
            }
            let name = &found.volume.name;
            let bytes = size(&self.store, &found.volume)?;
            match self.retire_volume(name, true) {
                Ok(Retirement::Done(retired)) => {
                    pruned.names.push(name.clone());
                    pruned.bytes += bytes;
                    pruned.failures.extend(retired.erase().err());
                }
                Ok(Retirement::InUse(_) | Retirement::Busy | Retirement::Missing) => {}
                Err(error) => pruned.failures.push(error),
            }
        }
        if !pruned.names.is_empty() {
            // One for all, without a name, as Docker does.
            let event = Event::new(Object::Volume, Action::Prune, "", "");
            self.record_event(event.with("reclaimed", pruned.bytes));
        }
        Ok(pruned)
    }
}
