//! Puts a network namespace on a network: bridges, addresses, firewall, ports, pasta.
//!
//! Connecting a container has two steps. [`prepare`] decides and reserves everything that can fail
//! for reasons of the user's (ports in use, a missing program), before anything else is made;
//! [`attach`] acts on the namespace. [`detach`] gives back whatever either of them took, also when
//! the process that took it is gone: what a container holds is recorded before it is taken.
//!
//! Nothing here runs `ip`, `nft` or any other program but pasta.

mod bridge;
mod check;
mod cidr;
mod files;
mod firewall;
mod link;
mod nft;
mod pasta;
mod ports;
mod rule;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use self::bridge::Bridge;
pub use self::bridge::DEFAULT_NETWORK;
pub use self::check::checks;
pub use self::cidr::Cidr;
pub use self::files::{host_hosts, host_resolv_conf, hosts_file, resolv_conf};
use self::link::Links;
pub use self::pasta::Helper;
use self::ports::Listener;
pub use self::ports::PublishedPort;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::network::{NameResolution, NetworkMode, PortMapping};
use crate::store::Store;

/// The word that stands for an address of the host where a container's names are given.
const HOST_GATEWAY: &str = "host-gateway";

/// What a container asks of the network.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// Its name.
    pub name: &'a str,
    /// Its host name.
    pub hostname: &'a str,
    /// Its network, resolved: neither a default nor somebody else's namespace.
    pub mode: &'a NetworkMode,
    /// Ports to publish.
    pub ports: &'a [PortMapping],
    /// Names and name servers.
    pub names: &'a NameResolution,
    /// Whether we are without root.
    pub rootless: bool,
}

/// How a container is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Name of the network: that of a bridge network, `pasta`, `host` or `none`.
    pub network: String,
    /// Name of the interface in the container.
    pub interface: Option<String>,
    /// Hardware address of that interface.
    pub mac: Option<String>,
    /// Its addresses.
    pub addresses: Vec<Cidr>,
    /// Where packets for the rest of the world go.
    pub gateway: Option<IpAddr>,
    /// Name server that is in reach when the host's own may not be.
    pub name_server: Option<IpAddr>,
    /// Address of the host as the container sees it.
    pub host: Option<IpAddr>,
    /// Ports that are published.
    pub ports: Vec<PublishedPort>,
}

/// What was decided and reserved for a container that is about to be connected.
///
/// Who gives up after this calls [`detach`].
#[derive(Debug)]
pub struct Prepared {
    id: ContainerId,
    way: Way,
    endpoint: Endpoint,
    held: Vec<OwnedFd>,
}

/// How a namespace gets its network.
#[derive(Debug)]
enum Way {
    /// It is the host's and has one.
    Host,
    /// Not at all.
    Loopback,
    /// By a port on a bridge.
    Bridge(Bridge),
    /// By a program.
    Pasta(pasta::Plan),
}

/// A container's connection.
#[derive(Debug)]
pub struct Attached {
    /// How it is connected.
    pub endpoint: Endpoint,
    /// Sockets that keep the published ports from others; for as long as the container may run.
    pub held: Vec<OwnedFd>,
    /// A program that the connection lasts as long as. To be killed when the container is done; it
    /// dies with this process.
    pub helper: Option<Helper>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Endpoint {
    /// Returns how a container is connected that has the host's network, none, or somebody else's:
    /// what it takes to write its files.
    pub fn plain(mode: &NetworkMode) -> Self {
        Self { network: mode.to_string(), ..Self::default() }
    }
}

impl Prepared {
    /// Returns how the container will be connected.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// Returns what a container that asks for nothing gets.
pub fn default_mode(rootless: bool) -> NetworkMode {
    if rootless { NetworkMode::Pasta } else { NetworkMode::Bridge(DEFAULT_NETWORK.to_owned()) }
}

/// Decides how a container will be connected, and reserves its ports and its address.
pub fn prepare(store: &Store, request: &Request<'_>) -> Result<Prepared> {
    let id = request.id.clone();
    let mut endpoint = Endpoint::plain(request.mode);
    match request.mode {
        NetworkMode::Host => Ok(Prepared { id, way: Way::Host, endpoint, held: Vec::new() }),
        NetworkMode::None => Ok(Prepared { id, way: Way::Loopback, endpoint, held: Vec::new() }),
        NetworkMode::Bridge(name) if name == DEFAULT_NETWORK && !request.rootless => {
            // The last run may have ended without giving back what it held.
            detach(store, &id)?;
            let (ports, held) = ports::reserve(request.ports, Listener::Firewall)?;
            if let Some(port) = ports.iter().find(|port| port.host_ip.is_ipv6()) {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("cannot publish on `{}`: network `{name}` has no IPv6", port.host_ip),
                )
                .hint("publish on an IPv4 address, or use --network host"));
            }
            endpoint.ports = ports;
            let (bridge, lock) = bridge::ensure(store)?;
            let joined = join_bridge(store, &bridge, &id, &mut endpoint);
            drop(lock);
            if let Err(error) = joined {
                // The first failure is what counts; `detach` can be called again.
                drop(detach(store, &id));
                return Err(error);
            }
            Ok(Prepared { id, way: Way::Bridge(bridge), endpoint, held })
        }
        NetworkMode::Bridge(name) if name == DEFAULT_NETWORK => {
            Err(Error::new(Kind::Unsupported, "bridge networks need root")
                .hint("leave out --network, or use --network pasta, host or none"))
        }
        NetworkMode::Bridge(name) => {
            Err(Error::new(Kind::NotFound, format!("no network `{name}`")))
        }
        NetworkMode::Pasta if request.rootless => {
            let (ports, held) = ports::reserve(request.ports, Listener::Program)?;
            let host = request.names.hosts.iter().any(|(_, address)| address == HOST_GATEWAY);
            let plan = pasta::plan(&ports, host, store.runroot())?;
            endpoint.ports = ports;
            endpoint.name_server = Some(pasta::NAME_SERVER);
            endpoint.host = plan.host();
            // pasta gives the container the host's addresses; what it did is looked up later.
            Links::open()
                .and_then(|mut links| describe(&mut endpoint, &mut links))
                .context(|| "cannot look up this machine's address")?;
            endpoint.mac = None;
            Ok(Prepared { id, way: Way::Pasta(plan), endpoint, held })
        }
        NetworkMode::Pasta => {
            Err(Error::new(Kind::Unsupported, "pasta is for those who are not root")
                .hint("leave out --network, or use --network bridge, host or none"))
        }
        NetworkMode::Default | NetworkMode::Container(_) | NetworkMode::Ns(_) => Err(Error::new(
            Kind::Unsupported,
            format!("network mode `{}` cannot be set up here", request.mode),
        )),
    }
}

/// Takes an address on a bridge and puts it on record.
fn join_bridge(
    store: &Store,
    bridge: &Bridge,
    id: &ContainerId,
    endpoint: &mut Endpoint,
) -> Result<()> {
    endpoint.interface = Some(bridge::INTERFACE.to_owned());
    endpoint.gateway = Some(bridge.gateway_address());
    endpoint.host = endpoint.gateway;
    // On record before the lease is taken: if we are killed in between, it can be found.
    store.save_endpoint(id, endpoint)?;
    let address = bridge.lease(store, id)?;
    endpoint.addresses = vec![address];
    if let IpAddr::V4(address) = address.address() {
        endpoint.mac = Some(link::mac_text(link::mac_of(address)));
    }
    store.save_endpoint(id, endpoint)
}

/// Connects a network namespace as it was prepared. On failure nothing is left of it.
pub fn attach(store: &Store, prepared: Prepared, netns: BorrowedFd<'_>) -> Result<Attached> {
    let Prepared { id, way, endpoint, held } = prepared;
    let mut attached = Attached { endpoint, held, helper: None, warnings: Vec::new() };
    let network = attached.endpoint.network.clone();
    let connected = match &way {
        Way::Host => Ok(()),
        Way::Loopback => loopback_up(netns),
        Way::Bridge(bridge) => attach_bridge(store, bridge, &id, &attached.endpoint, netns),
        Way::Pasta(plan) => attach_pasta(plan, &mut attached, netns),
    }
    .context(|| format!("cannot connect to network `{network}`"));
    if let Err(error) = connected {
        // The first failure is what counts; `detach` can be called again.
        drop(detach(store, &id));
        return Err(error);
    }
    Ok(attached)
}

fn attach_bridge(
    store: &Store,
    bridge: &Bridge,
    id: &ContainerId,
    endpoint: &Endpoint,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let address = endpoint
        .addresses
        .first()
        .ok_or_else(|| Error::new(Kind::Internal, "no address was leased"))?;
    bridge::connect(bridge, id, *address, netns)?;
    bridge::publish(store, bridge, id, endpoint)
}

fn attach_pasta(plan: &pasta::Plan, attached: &mut Attached, netns: BorrowedFd<'_>) -> Result<()> {
    let endpoint = &mut attached.endpoint;
    let helper = match pasta::start(plan, netns) {
        Ok(helper) => helper,
        // Older versions refuse to work where there is nothing to be connected to.
        Err(error) if endpoint.ports.is_empty() && is_offline() => {
            *endpoint = Endpoint { network: endpoint.network.clone(), ..Endpoint::default() };
            let text = format!("the machine is offline, the container has no network: {error}");
            attached.warnings.push(text);
            return loopback_up(netns);
        }
        Err(error) => return Err(error),
    };
    attached.helper = Some(helper);
    Links::open_in(netns)
        .and_then(|mut links| describe(endpoint, &mut links))
        .context(|| "cannot see what pasta has set up")
}

/// Tells whether there is no way from this machine to anywhere.
fn is_offline() -> bool {
    matches!(Links::open().and_then(|mut links| links.uplink()), Ok(None))
}

/// Fills in what somebody else has set up.
fn describe(endpoint: &mut Endpoint, links: &mut Links) -> std::io::Result<()> {
    let Some(uplink) = links.uplink()? else { return Ok(()) };
    endpoint.gateway = uplink.gateway;
    let addresses = links.addresses()?;
    let own = addresses.into_iter().filter(|(index, _)| *index == uplink.index);
    endpoint.addresses = own.map(|(_, address)| address).collect();
    if let Some(link) = links.by_index(uplink.index)? {
        endpoint.mac = link.mac.map(link::mac_text);
        endpoint.interface = Some(link.name);
    }
    Ok(())
}

/// Gives back whatever a container holds of the network. To do so twice is fine.
///
/// Goes on after a failure and returns the first one.
pub fn detach(store: &Store, id: &ContainerId) -> Result<()> {
    let Some(endpoint) = store.endpoint::<Endpoint>(id)? else { return Ok(()) };
    let mut result = bridge::withdraw(store, id).and(bridge::disconnect(id));
    let network = store.network(&endpoint.network);
    let addresses = match endpoint.addresses.as_slice() {
        // Whoever prepared it was killed before it could record the address.
        [] => network.leases().map(|leases| {
            let own = leases.into_iter().filter(|(_, holder)| holder == id);
            own.map(|(address, _)| address).collect()
        }),
        addresses => Ok(addresses
            .iter()
            .filter_map(|address| match address.address() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .collect()),
    };
    result = result.and(addresses.and_then(|addresses: Vec<_>| {
        addresses.into_iter().try_for_each(|address| network.release(address, id))
    }));
    // Stays if something is left to be given back.
    result
        .and_then(|()| store.remove_endpoint(id))
        .and_then(|()| bridge::remove_if_temporary(store))
}

/// Makes interfaces and firewall rules anew, as the records want them: after another program has
/// removed them.
pub fn reload(store: &Store) -> Result<()> {
    bridge::reload(store)
}

/// Removes the networks of a store on which there are no containers any more.
pub fn remove_networks(store: &Store) -> Result<()> {
    bridge::remove(store)
}

/// Returns where pasta is installed, if it is.
pub fn pasta_path() -> Option<String> {
    pasta::find().map(|program| program.display().to_string())
}

/// Takes the loopback interface of a network namespace up.
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<()> {
    Links::open_in(netns)
        .and_then(|mut links| links.set_loopback_up())
        .context(|| "cannot take the loopback interface up")
}
