//! What the firewall has of containers: their networks' rules, and their published ports.

use std::collections::HashSet;

use super::bridge::{self, Bridge};
use super::choose::interface_name;
use super::docker;
use super::endpoint::Endpoint;
use super::firewall::{self, Network, Publication, Published};
use super::firewalld;
use super::ground::Ground;
use crate::error::{Context, Error, Result};
use crate::spec::id::ContainerId;
use crate::store::Store;

/// Makes the firewall table with the rules of all networks that are set up, `and` one that is about to
/// be, and the published ports of all containers. The caller holds the lock for one holder.
pub(super) fn install(store: &Store, ground: &Ground, and: Option<&Bridge>) -> Result<()> {
    let mut bridges = bridge::all(store)?;
    bridges.retain(|bridge| !bridge.is_direct());
    if let Some(new) = and {
        bridges.retain(|bridge| bridge.network != new.network);
        bridges.push(new.clone());
    }
    let endpoints = settle(store)?;
    let publications: Vec<_> =
        endpoints.iter().filter_map(|(id, endpoint)| publication(id, endpoint)).collect();
    let networks = served(&bridges);
    let table = interface_name(store.runroot());
    firewall::install(ground, &table, &networks, &publications)?;
    docker::admit(ground, &table, &open(&networks))
}

/// Takes everything out of the firewall again.
pub(super) fn remove(store: &Store, ground: &Ground) -> Result<()> {
    let table = interface_name(store.runroot());
    docker::admit(ground, &table, &[])?;
    firewall::remove(ground, &table)
}

/// Returns the bridges whose containers have anything to do with what is beyond this machine.
fn open<'a>(networks: &[Network<'a>]) -> Vec<&'a str> {
    let open = networks.iter().filter(|network| !network.internal);
    open.map(|network| network.interface).collect()
}

/// Returns what the firewall is told of networks.
fn served(bridges: &[Bridge]) -> Vec<Network<'_>> {
    let mut networks = Vec::new();
    for bridge in bridges {
        networks.push(Network {
            interface: &bridge.interface,
            subnets: &bridge.gateways,
            internal: bridge.internal,
            masquerades: bridge.masquerades,
            isolation: bridge.isolation,
        });
    }
    networks
}

/// Makes the firewall table anew if somebody has removed it, or rules of it, and tells firewalld what it
/// has forgotten.
pub(super) fn repair(store: &Store, ground: &Ground) -> Result<()> {
    let repaired = repair_table(store, ground);
    repaired.and(firewalld::admit_unless_busy(store, ground))
}

fn repair_table(store: &Store, ground: &Ground) -> Result<()> {
    let table = interface_name(store.runroot());
    let is_whole = || {
        let mut bridges = bridge::all(store)?;
        bridges.retain(|bridge| !bridge.is_direct());
        // It may have gone with the last network.
        if bridges.is_empty() {
            return Ok::<_, Error>(true);
        }
        let networks = served(&bridges);
        let is_admitted = docker::is_admitted(ground, &table, &open(&networks));
        Ok(firewall::is_whole(ground, &table, &networks)?
            && is_admitted.context(|| "cannot look at Docker's firewall")?)
    };
    if is_whole()? {
        return Ok(());
    }
    let _lock = ground.lock()?;
    // Others may have been quicker, or about to make a network.
    if is_whole()? {
        return Ok(());
    }
    install(store, ground, None)
}

/// Returns the endpoints of all containers, after a port that several claim is left to one of them.
///
/// Who claims a port holds it by a socket, so whoever came later is right and the others are dead.
/// Their claims are taken off the records: cleaned up after, they must not close what is no longer
/// theirs.
fn settle(store: &Store) -> Result<Vec<(ContainerId, Endpoint)>> {
    let mut endpoints = store.endpoints::<Endpoint>()?;
    let mut claimed = HashSet::new();
    for (id, endpoint) in endpoints.iter_mut().rev() {
        let before = endpoint.ports.len();
        endpoint.ports.retain(|port| claimed.insert((port.host_ip, port.host_port, port.protocol)));
        if endpoint.ports.len() != before {
            store.save_endpoint(id, endpoint)?;
        }
    }
    Ok(endpoints)
}

/// Returns what the firewall has to know of a container; `None` if it publishes nothing.
fn publication<'a>(holder: &'a ContainerId, endpoint: &'a Endpoint) -> Option<Publication<'a>> {
    let address = endpoint.published_address()?;
    let ports = endpoint.ports.as_slice();
    (!ports.is_empty()).then_some(Publication { holder, address, ports })
}

/// Opens a container's published ports.
pub(super) fn publish(
    store: &Store,
    ground: &Ground,
    id: &ContainerId,
    endpoint: &Endpoint,
) -> Result<()> {
    let Some(publication) = publication(id, endpoint) else { return Ok(()) };
    let lock = ground.lock_shared()?;
    let table = interface_name(store.runroot());
    if firewall::publish(ground, &table, &publication)? == Published::Done {
        return Ok(());
    }
    // The table vanished since the network was there, or a dead container's ports are in it. The new
    // one will have ours from the record.
    drop(lock);
    let _lock = ground.lock()?;
    install(store, ground, None)
}

/// Closes a container's published ports.
pub(super) fn withdraw(store: &Store, ground: &Ground, id: &ContainerId) -> Result<()> {
    let _lock = ground.lock_shared()?;
    // Read under the lock: see `settle`.
    let Some(endpoint) = store.endpoint::<Endpoint>(id)? else { return Ok(()) };
    match publication(id, &endpoint) {
        Some(publication) => {
            firewall::withdraw(ground, &interface_name(store.runroot()), &publication)
        }
        None => Ok(()),
    }
}
