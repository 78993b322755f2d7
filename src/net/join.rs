//! One container on one network: how it comes there, before it runs or while it does, and how it goes.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::bridge::{self, Bridge};
use super::dhcp::{self, Asking, Client};
use super::endpoint::{Connection, Endpoint};
use super::ground::Ground;
use super::{Request, firewalld, link, publish, veth};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::membership::{Link, Membership};
use crate::spec::network_spec::Sharing;
use crate::store::Store;

/// Takes addresses on all networks, and puts them on record.
pub(super) fn join_all(
    store: &Store,
    ground: &Ground,
    members: &[Membership],
    request: &Request<'_>,
    endpoint: &mut Endpoint,
) -> Result<Vec<Bridge>> {
    members.iter().map(|member| join(store, ground, member, request, endpoint)).collect()
}

/// Takes addresses on one network, and puts them on record.
fn join(
    store: &Store,
    ground: &Ground,
    member: &Membership,
    request: &Request<'_>,
    endpoint: &mut Endpoint,
) -> Result<Bridge> {
    let network = store.networks().get(&member.network)?.ok_or_else(|| {
        let name = &member.network;
        let text = format!("unable to find network with name or ID {name}: network not found");
        Error::new(Kind::NotFound, text)
    })?;
    let number = endpoint.free_number().ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("a container is on {} networks at most", veth::MOST))
    })?;
    let interface = member.interface.clone().unwrap_or_else(|| endpoint.free_interface());
    if endpoint.connections.iter().any(|it| it.interface.as_ref() == Some(&interface)) {
        let text = format!("two interfaces of a container cannot both be `{interface}`");
        return Err(Error::new(Kind::Invalid, text).hint("choose others by interface_name="));
    }
    let (bridge, lock) = bridge::ensure(store, ground, &network)?;
    let direct = bridge.is_direct();
    // Others' gateway is not this machine, and neither is that of a namespace that containers share.
    let is_machine = !direct && !ground.is_shared();
    let own = bridge.gateways.first().filter(|_| is_machine).map(|it| it.address());
    endpoint.host = endpoint.host.or(own);
    let has_names = network.spec.dns;
    endpoint.connections.push(Connection {
        network: network.name.clone(),
        number,
        interface: Some(interface),
        direct,
        gateways: bridge.ways_out().collect(),
        priority: member.priority,
        visitors: bridge.visitors,
        routes: network.spec.routes.clone(),
        servers: network.spec.servers.clone(),
        names: if has_names { names(member, request) } else { Vec::new() },
        links: if has_names { member.links.clone() } else { Vec::new() },
        linked: if has_names { Vec::new() } else { linked(store, member)? },
        asks: bridge.dhcp.then(|| Asking {
            // Where all have one hardware address, something else must tell them apart.
            identity: matches!(bridge.sharing, Some(Sharing::Ipvlan(_)))
                .then(|| dhcp::identity(request.id, number)),
            hostname: request.hostname.to_owned(),
            leads_out: !bridge.internal,
        }),
        ..Connection::default()
    });
    endpoint.resolver |= has_names;
    // On record before the lease is taken: if we are killed in between, it can be found.
    store.save_endpoint(request.id, endpoint)?;
    let ipv4 = member.ipv4.map(IpAddr::V4);
    let wanted: Vec<IpAddr> = ipv4.into_iter().chain(member.ipv6.map(IpAddr::V6)).collect();
    let addresses = bridge.lease(store, ground, request.id, &wanted)?;
    drop(lock);
    let own = addresses.iter().map(|address| address.address());
    let mac = match (bridge.sharing, member.mac) {
        // All have that of the interface.
        (Some(Sharing::Ipvlan(_)), None) => {
            bridge::find(&mut ground.links()?, &bridge.interface)?.and_then(|link| link.mac)
        }
        (Some(Sharing::Ipvlan(_)), Some(_)) => {
            let name = &network.name;
            let text = format!(
                "a container on network {name} has the hardware address of `{}`",
                bridge.interface
            );
            return Err(Error::new(Kind::Invalid, text)
                .hint("networks of driver macvlan give each container one of its own"));
        }
        (_, Some(mac)) => Some(mac.0),
        // The plugin decides.
        (None, None) if bridge.plugin.is_some() => None,
        (_, None) => Some(veth::usual_mac(own, request.id, number)),
    };
    if let Some(connection) = endpoint.connections.last_mut() {
        connection.mac = mac.map(link::mac_text);
        connection.addresses = addresses;
    }
    store.save_endpoint(request.id, endpoint)?;
    Ok(bridge)
}

/// Has the plugin of a network connect a container. What it has begun is on record before.
pub(super) fn plug(
    store: &Store,
    bridge: &Bridge,
    id: &ContainerId,
    endpoint: &mut Endpoint,
    index: usize,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let Some(plugin) = &bridge.plugin else { return Ok(()) };
    endpoint.connections[index].attachment = Some(plugin.attachment());
    store.save_endpoint(id, endpoint)?;
    plugin.add(id, &mut endpoint.connections[index], netns)?;
    store.save_endpoint(id, endpoint)
}

/// Returns the names by which others on a network know a container.
fn names(member: &Membership, request: &Request<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let own = [request.name, request.id.short(), request.hostname];
    for name in own.into_iter().chain(member.aliases.iter().map(String::as_str)) {
        let name = name.to_ascii_lowercase();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Finds the containers that one has names for, on a network without names: their addresses, and all that
/// they are called, as Docker has it.
fn linked(store: &Store, member: &Membership) -> Result<Vec<(IpAddr, String)>> {
    let mut lines = Vec::new();
    for Link { container, alias } in &member.links {
        let context = || format!("cannot link to container `{container}`");
        let containers = store.containers();
        let id = containers.lookup(container).context(context)?;
        let found = containers.get(&id)?.filter(|_| containers.is_monitored(&id).unwrap_or(false));
        let endpoint = store.endpoint::<Endpoint>(&id)?.unwrap_or_default();
        let connection = endpoint.connections.iter().find(|it| it.network == member.network);
        let (Some(found), Some(connection)) = (found, connection) else {
            let text = format!("it does not run on network `{}`", member.network);
            let error = Error::new(Kind::Conflict, text).within(context());
            return Err(error.hint(
                "start it first, or use a network that was made by `barge network create`, which has names",
            ));
        };
        let mut names = vec![alias.as_str()];
        for name in [found.config.hostname(), &found.state.name] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let names = names.join(" ");
        lines.extend(connection.addresses.iter().map(|it| (it.address(), names.clone())));
    }
    Ok(lines)
}

/// Lets others on a network find a container by its names.
pub(super) fn announce(store: &Store, id: &ContainerId, connection: &Connection) -> Result<()> {
    let network = store.network(&connection.network);
    let addresses: Vec<IpAddr> = connection.addresses.iter().map(|it| it.address()).collect();
    if addresses.is_empty() {
        return Ok(());
    }
    connection.names.iter().try_for_each(|name| network.announce(name, id, &addresses))
}

/// Gives back the names and the addresses of one connection.
pub(super) fn release(store: &Store, id: &ContainerId, connection: &Connection) -> Result<()> {
    let network = store.network(&connection.network);
    connection.names.iter().try_for_each(|name| network.withdraw(name, id))?;
    let mut addresses: Vec<IpAddr> =
        connection.addresses.iter().map(|address| address.address()).collect();
    if addresses.is_empty() {
        // Whoever prepared it was killed before it could record them.
        let own = network.leases()?.into_iter().filter(|(_, holder)| holder == id);
        addresses.extend(own.map(|(address, _)| address));
    }
    addresses.into_iter().try_for_each(|address| network.release(address, id))
}

/// Connects a container that runs to one more network; returns how it is connected then. On failure it
/// is as it was. Where somebody else gives addresses, its monitor is yet to ask for one.
///
/// The caller holds the container's lock.
pub fn connect(
    store: &Store,
    request: &Request<'_>,
    member: &Membership,
    netns: BorrowedFd<'_>,
) -> Result<Endpoint> {
    let before = store.endpoint::<Endpoint>(request.id)?.unwrap_or_default();
    let ground = &Ground::of(store, before.shared || request.rootless)?;
    let mut endpoint = before.clone();
    let connected = join(store, ground, member, request, &mut endpoint).and_then(|bridge| {
        let Some(connection) = endpoint.connections.last_mut() else { return Ok(()) };
        veth::connect(ground, &bridge, request.id, connection, netns)?;
        if bridge.plugin.is_some() {
            let last = endpoint.connections.len() - 1;
            plug(store, &bridge, request.id, &mut endpoint, last, netns)?;
        }
        veth::lead_out(netns, &before, &endpoint)?;
        let Some(connection) = endpoint.connections.last() else { return Ok(()) };
        announce(store, request.id, connection)?;
        // Who starts a container there is told what is amiss.
        drop(firewalld::admit(store, ground));
        // Its first address is the one that its ports lead to.
        if before.published_address().is_none() {
            publish::publish(store, ground, request.id, &endpoint)?;
        }
        Ok(())
    });
    if connected.is_err()
        && let Some(new) = endpoint.connections.get(before.connections.len())
    {
        if let Some(attachment) = &new.attachment {
            drop(attachment.remove(request.id, new, Some(netns)));
        }
        // What cannot be given back now is given back when the container ends.
        if veth::remove(netns, new).is_ok() && release(store, request.id, new).is_ok() {
            drop(store.save_endpoint(request.id, &before));
            drop(bridge::remove_if_temporary(store, ground, &new.network));
        }
    }
    connected.map(|()| endpoint)
}

/// Disconnects a container that runs from a network; returns how it is connected then. Its ports are
/// published at another address of it, if it has one.
///
/// The caller holds the container's lock.
pub fn disconnect(
    store: &Store,
    id: &ContainerId,
    network: &str,
    netns: BorrowedFd<'_>,
) -> Result<Endpoint> {
    let before = store.endpoint::<Endpoint>(id)?.unwrap_or_default();
    let mut endpoint = before.clone();
    let Some(index) = before.connections.iter().position(|it| it.network == network) else {
        return Ok(endpoint);
    };
    let gone = endpoint.connections.remove(index);
    let ground = &Ground::of(store, before.shared)?;
    let moves = endpoint.published_address() != before.published_address();
    if moves {
        publish::withdraw(store, ground, id)?;
    }
    if let Some(client) = Client::resume(&gone, netns) {
        client.release();
    }
    if let Some(attachment) = &gone.attachment {
        attachment.remove(id, &gone, Some(netns))?;
    }
    veth::remove(netns, &gone)?;
    release(store, id, &gone)?;
    store.save_endpoint(id, &endpoint)?;
    veth::lead_out(netns, &before, &endpoint)?;
    if moves {
        publish::publish(store, ground, id, &endpoint)?;
    }
    bridge::remove_if_temporary(store, ground, &gone.network)?;
    Ok(endpoint)
}

/// Lets others find a container that runs by a new name in place of an old one, which it may still be
/// `known` by for another reason. The caller holds the container's lock.
pub fn rename(store: &Store, id: &ContainerId, old: &str, new: &str, known: &[&str]) -> Result<()> {
    let Some(mut endpoint) = store.endpoint::<Endpoint>(id)? else { return Ok(()) };
    let (old, new) = (old.to_ascii_lowercase(), new.to_ascii_lowercase());
    let stays = known.iter().any(|name| name.eq_ignore_ascii_case(&old));
    for connection in endpoint.connections.iter_mut().filter(|it| !it.names.is_empty()) {
        if !stays {
            store.network(&connection.network).withdraw(&old, id)?;
        }
        connection.names.retain(|name| *name != new && (stays || *name != old));
        connection.names.insert(0, new.clone());
        announce(store, id, connection)?;
    }
    store.save_endpoint(id, &endpoint)
}

/// Gives the containers on a network other name servers for what it does not know itself.
///
/// A container that comes or goes meanwhile has them from the network's record.
pub fn set_servers(store: &Store, network: &str, servers: &[IpAddr]) -> Result<()> {
    for (id, mut endpoint) in store.endpoints::<Endpoint>()? {
        let on_it = endpoint.connections.iter_mut().filter(|it| it.network == network);
        let mut changed = false;
        for connection in on_it {
            servers.clone_into(&mut connection.servers);
            changed = true;
        }
        if changed {
            store.save_endpoint(&id, &endpoint)?;
        }
    }
    Ok(())
}
