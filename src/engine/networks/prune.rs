//! `network prune`: networks that no container is on go.

use super::{NetworkUse, list};
use crate::engine::Engine;
use crate::error::{Error, Result};

/// What a prune of networks did.
#[derive(Debug, Default)]
pub struct PrunedNetworks {
    /// The names of those that are gone.
    pub names: Vec<String>,
    /// What could not be removed.
    pub failures: Vec<Error>,
}

impl Engine {
    /// Removes the networks that no container is on and that are `wanted`; the default one stays.
    pub fn prune_networks(
        &self,
        wanted: impl Fn(&NetworkUse) -> Result<bool>,
    ) -> Result<PrunedNetworks> {
        self.store.networks().lock()?.sweep()?;
        let mut pruned = PrunedNetworks::default();
        for found in list(self)? {
            if found.network.is_default() || !found.users.is_empty() || !wanted(&found)? {
                continue;
            }
            match self.retire_network(&found.network) {
                Ok(users) if users.is_empty() => pruned.names.push(found.network.name),
                // Somebody has come.
                Ok(_) => {}
                Err(error) => pruned.failures.push(error),
            }
        }
        Ok(pruned)
    }
}
