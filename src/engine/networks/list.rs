//! `network ls` and `network inspect`: what there is, and who is on it.

use crate::engine::Engine;
use crate::error::Result;
use crate::net::{self, Connection, Endpoint};
use crate::spec::membership::DEFAULT_NETWORK;
use crate::spec::network::NetworkMode;
use crate::store::container::Container;
use crate::store::network::Network;

/// A network, and who is on it.
#[derive(Clone, Debug)]
pub struct NetworkUse {
    /// The network, with all that is known of it.
    pub network: Network,
    /// The containers that are on it, also those that do not run.
    pub users: Vec<Container>,
}

impl NetworkUse {
    /// Returns how the containers that run are connected, with their IDs and names.
    pub fn connections(&self) -> Vec<(&Container, Connection)> {
        let connection = |container: &Container| {
            let recorded = container.state.process().and(container.state.network.clone())?;
            let endpoint: Endpoint = serde_json::from_value(recorded).ok()?;
            endpoint.connections.into_iter().find(|it| it.network == self.network.name)
        };
        self.users.iter().filter_map(|user| connection(user).map(|it| (user, it))).collect()
    }
}

/// Returns all networks, by name.
pub fn list(engine: &Engine) -> Result<Vec<NetworkUse>> {
    let containers = engine.list()?;
    let networks = engine.store.networks().list()?;
    networks.into_iter().map(|network| with_users(engine, network, &containers)).collect()
}

/// Finds a network by its name, its ID, or the beginning of its ID if that is unique.
pub fn lookup(engine: &Engine, name: &str) -> Result<NetworkUse> {
    let network = engine.store.networks().lookup(name)?;
    with_users(engine, network, &engine.list()?)
}

fn with_users(
    engine: &Engine,
    mut network: Network,
    containers: &[Container],
) -> Result<NetworkUse> {
    if network.is_default() {
        net::describe_default(&engine.store, &mut network)?;
    }
    let rootless = engine.host.rootless;
    let is_user = |it: &&Container| is_on(it, &network.name, rootless);
    let users = containers.iter().filter(is_user).cloned().collect();
    Ok(NetworkUse { network, users })
}

/// Tells whether a container is on a network.
pub(super) fn is_on(container: &Container, network: &str, rootless: bool) -> bool {
    match &container.config.settings.network {
        NetworkMode::Default => !rootless && network == DEFAULT_NETWORK,
        mode => mode.memberships().iter().any(|member| member.network == network),
    }
}
