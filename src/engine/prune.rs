//! `container prune` and `system prune`: what nobody needs goes.

use std::collections::BTreeMap;

use super::images::{self, PruneOptions, Removals};
use super::networks::PrunedNetworks;
use super::volumes::PrunedVolumes;
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
    /// Networks that are gone.
    pub networks: PrunedNetworks,
    /// Volumes that are gone.
    pub volumes: PrunedVolumes,
    /// What could not be removed, besides images and volumes.
    pub failures: Vec<Error>,
    /// Bytes that are free now.
    pub bytes: u64,
}

impl Engine {
    /// Removes containers that do not run, then networks that no container is on, and then images that
    /// no container uses: those without a name, or all.
    ///
    /// With `volumes`, then those that nobody has named and no container has; Podman and Docker leave
    /// the others alone as well.
    pub fn prune(&self, options: &PruneOptions, volumes: bool) -> Result<Pruned> {
        let mut pruned = self.prune_containers(&options.filters)?;
        pruned.networks = self.prune_networks(|found| {
            let network = &found.network;
            is_wanted_of(network.created, &network.spec.labels, &options.filters)
        })?;
        if volumes {
            pruned.volumes = self.prune_volumes(|found| {
                let volume = &found.volume;
                Ok(volume.anonymous
                    && is_wanted_of(volume.created, &volume.spec.labels, &options.filters)?)
            })?;
            pruned.bytes += pruned.volumes.bytes;
        }
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
            let status = &container.state.status;
            if matches!(status, Status::Running(_) | Status::Restarting(_))
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
    is_wanted_of(container.config.created, &container.config.labels, filters)
}

fn is_wanted_of(
    created: i64,
    labels: &BTreeMap<String, String>,
    filters: &[Filter],
) -> Result<bool> {
    filter::passes(filters, |key, value| {
        Ok(match key {
            "label" => filter::label_matches(labels, value),
            _ => created < time::parse(value, now())?,
        })
    })
}
