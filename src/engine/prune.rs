//! `container prune` and `system prune`: what nobody needs goes.

use super::images::{self, PruneOptions, Removals};
use super::{Engine, RemoveOptions, now};
use crate::error::{Error, Kind, Result};
use crate::spec::filter::{self, Filter};
use crate::spec::id::ContainerId;
use crate::spec::time;
use crate::store::container::{Container, Status};

/// What a prune did.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Containers that are gone.
    pub containers: Vec<ContainerId>,
    /// Images that are gone.
    pub images: Removals,
    /// What could not be removed, besides images.
    pub failures: Vec<Error>,
    /// Bytes that are free now.
    pub bytes: u64,
}

impl Engine {
    /// Removes containers that do not run, and then images that no container uses: those without a
    /// name, or all.
    pub fn prune(&self, options: &PruneOptions) -> Result<Pruned> {
        let mut pruned = self.prune_containers(&options.filters)?;
        pruned.images = images::prune(self, options)?;
        pruned.bytes += pruned.images.bytes;
        Ok(pruned)
    }

    /// Removes containers that do not run.
    pub fn prune_containers(&self, filters: &[Filter]) -> Result<Pruned> {
        if let Some(filter) = filters.iter().find(|it| !KEYS.contains(&&*it.key)) {
            return Err(Error::new(
                Kind::Invalid,
                format!("unsupported filter \"{}\"", filter.key),
            )
            .hint(format!("known are {}", KEYS.join(", "))));
        }
        let mut pruned = Pruned::default();
        for container in self.list()? {
            if !matches!(container.state.status, Status::Created | Status::Exited)
                || !is_wanted(&container, filters)?
            {
                continue;
            }
            let bytes = self.changed(&container)?;
            match self.remove(container.id().as_str(), RemoveOptions::default()) {
                Ok(id) => {
                    pruned.containers.push(id);
                    pruned.bytes += bytes;
                }
                // Somebody has started it.
                Err(error) if error.kind() == Kind::Conflict => {}
                Err(error) => pruned.failures.push(error),
            }
        }
        Ok(pruned)
    }
}

/// What a prune of everything can be filtered by.
const KEYS: [&str; 2] = ["label", "until"];

fn is_wanted(container: &Container, filters: &[Filter]) -> Result<bool> {
    filter::passes(filters, |key, value| {
        Ok(match key {
            "label" => filter::label_matches(&container.config.labels, value),
            _ => container.config.created < time::parse(value, now())?,
        })
    })
}
