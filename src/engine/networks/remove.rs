//! `network rm`: a network that no container is on goes.

use super::list::is_on;
use crate::engine::{Engine, RemoveOptions};
use crate::error::{Error, Kind, Result};
use crate::net;
use crate::spec::id::ContainerId;
use crate::store::events::Action;
use crate::store::network::Network;

impl Engine {
    /// Removes a network; with `force`, the containers that are on it before.
    pub fn remove_network(&self, name: &str, options: RemoveOptions) -> Result<()> {
        let network = self.store.networks().lookup(name)?;
        if network.is_default() {
            let text = format!("default network {} cannot be removed", network.name);
            return Err(Error::new(Kind::Invalid, text));
        }
        loop {
            let users = self.retire_network(&network)?;
            if users.is_empty() {
                return Ok(());
            }
            if !options.force {
                let text = format!(
                    "\"{name}\" has associated containers with it. Use -f to forcibly delete containers and pods: network is being used"
                );
                return Err(Error::new(Kind::Conflict, text));
            }
            for user in &users {
                match self.remove_with_dependants(user.as_str(), options) {
                    Err(error) if error.kind() != Kind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
    }

    /// Takes a network off the record unless containers are on it, which are returned.
    pub(super) fn retire_network(&self, network: &Network) -> Result<Vec<ContainerId>> {
        // One that is removed when it ends may have lost its monitor.
        drop(self.list()?);
        let locked = self.store.networks().lock()?;
        let containers = self.store.containers();
        let all = containers.get_all(&containers.ids()?)?;
        let users: Vec<_> = all
            .iter()
            .filter(|container| is_on(container, &network.name, self.host.rootless))
            .map(|container| container.id().clone())
            .collect();
        if users.is_empty() {
            net::take_down(&self.store, &network.name)?;
            if locked.remove(network)? {
                self.record_network(network, Action::Remove);
            }
        }
        Ok(users)
    }
}
