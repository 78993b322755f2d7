//! Puts a network namespace on a network: bridges, addresses, firewall, ports, pasta.
//!
//! Connecting a container has two steps. [`prepare`] decides and reserves everything that can fail
//! for reasons of the user's (ports in use, a missing program), before anything else is made;
//! [`attach`] acts on the namespace. [`detach`] gives back whatever either of them took, also when
//! the process that took it is gone: what a container holds is recorded before it is taken.
//!
//! Nothing here runs `ip`, `nft` or any other program but pasta.

mod again;
mod attached;
mod bridge;
mod check;
mod choose;
mod device;
mod dhcp;
mod direct;
mod dns;
mod docker;
mod endpoint;
mod files;
mod firewall;
mod firewalld;
#[cfg(fuzzing)]
pub mod fuzzing;
mod ground;
mod join;
pub mod keeper;
mod linger;
mod link;
mod nft;
mod pasta;
mod plugin;
mod ports;
mod publish;
mod relay;
mod rule;
mod slirp;
#[cfg(test)]
mod tests;
mod veth;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

pub use self::again::clear;
pub use self::attached::Attached;
use self::bridge::Bridge;
pub use self::check::checks;
pub use self::choose::{complete, interface_of};
pub use self::device::move_devices;
use self::dns::Resolver;
pub use self::endpoint::{Connection, Endpoint};
pub use self::files::{changed_hosts, host_hosts, host_resolv_conf, hosts_file, resolv_conf};
use self::ground::Ground;
pub use self::join::{connect, disconnect, rename, set_servers};
use self::link::Links;
pub use self::pasta::Helper;
pub use self::ports::PublishedPort;
use self::ports::{Door, Listener, Reserved};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::spec::id::ContainerId;
use crate::spec::membership::{DEFAULT_NETWORK, Membership};
use crate::spec::network::{NameResolution, NetworkMode, PortMapping};
use crate::spec::network_spec::Subnet;
use crate::spec::user_mode::PastaOptions;
use crate::store::network::Network;
use crate::store::{Store, defaults};

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

/// What was decided and reserved for a container that is about to be connected.
///
/// Who gives up after this calls [`detach`].
#[derive(Debug)]
pub struct Prepared {
    id: ContainerId,
    way: Way,
    endpoint: Endpoint,
    held: Vec<OwnedFd>,
    doors: Vec<Door>,
    ground: Ground,
    /// Name servers that the user has named.
    servers: Vec<IpAddr>,
    warnings: Vec<String>,
}

/// How a namespace gets its network.
#[derive(Debug)]
enum Way {
    /// It is the host's and has one.
    Host,
    /// Not at all.
    Loopback,
    /// By a port on each of these bridges, in the order of its connections.
    Bridges(Vec<Bridge>),
    /// By a program.
    Pasta(pasta::Plan),
    /// By another program.
    Slirp(slirp::Plan),
}

impl Prepared {
    fn new(request: &Request<'_>, way: Way, endpoint: Endpoint) -> Self {
        Self {
            id: request.id.clone(),
            way,
            endpoint,
            held: Vec::new(),
            doors: Vec::new(),
            ground: Ground::Own,
            servers: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Returns how the container will be connected.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// Returns what a container that asks for nothing gets.
pub fn default_mode(rootless: bool) -> NetworkMode {
    if rootless {
        NetworkMode::Pasta(PastaOptions::default())
    } else {
        NetworkMode::Networks(vec![Membership::of(DEFAULT_NETWORK)])
    }
}

/// Decides how a container will be connected, and reserves its ports and its address.
pub fn prepare(store: &Store, request: &Request<'_>) -> Result<Prepared> {
    let plain = Endpoint::plain(request.mode);
    match request.mode {
        NetworkMode::Host => Ok(Prepared::new(request, Way::Host, plain)),
        NetworkMode::None => Ok(Prepared::new(request, Way::Loopback, plain)),
        NetworkMode::Networks(members) => prepare_bridges(store, request, members),
        NetworkMode::Pasta(options) if request.rootless => match slirp::plan_if_needed() {
            Some(plan) if options.0.is_empty() => prepare_slirp(plan, request, plain),
            _ => prepare_pasta(store, request, options, plain),
        },
        NetworkMode::Pasta(_) => {
            Err(Error::new(Kind::Unsupported, "pasta is for those who are not root")
                .hint("leave out --network, or use --network bridge, host or none"))
        }
        NetworkMode::Slirp4netns(options) => {
            let mut plan = slirp::plan(options)?;
            if options.own_ports {
                let ports = ports::reserve(request.ports, Listener::Program)?.ports;
                let socket = format!("slirp-{}", request.id.short());
                plan.let_in(&ports, store.runroot().join(socket))?;
                let endpoint = Endpoint { ports, ..plain };
                return prepared_slirp(request, plan, endpoint);
            }
            prepare_slirp(plan, request, plain)
        }
        NetworkMode::Default | NetworkMode::Container(_) | NetworkMode::Ns(_) => Err(Error::new(
            Kind::Unsupported,
            format!("network mode `{}` cannot be set up here", request.mode),
        )),
    }
}

fn prepare_bridges(
    store: &Store,
    request: &Request<'_>,
    members: &[Membership],
) -> Result<Prepared> {
    // The last run may have ended without giving back what it held.
    detach(store, request.id)?;
    let asked = with_usual_address(store, members, request.ports)?;
    let listener = if request.rootless { Listener::Relay } else { Listener::Firewall };
    let Reserved { ports, held, doors, mut warnings } = ports::reserve(&asked, listener)?;
    let ground = Ground::make(store, request.rootless)?;
    let mut endpoint = Endpoint { ports, shared: ground.is_shared(), ..Endpoint::default() };
    if let Some(way_out) = ground.way_out() {
        endpoint.name_server = way_out.name_server;
        endpoint.host = way_out.host;
        warnings.extend(way_out.warning.clone());
    }
    match join::join_all(store, &ground, members, request, &mut endpoint) {
        Ok(bridges) => {
            if let Err(error) = firewalld::admit(store, &ground) {
                let way = error.hint_text().map(|way| format!("; by hand: {way}"));
                warnings.push(format!("{error}{}", way.unwrap_or_default()));
            }
            let servers = request.names.servers.clone();
            let prepared = Prepared::new(request, Way::Bridges(bridges), endpoint);
            Ok(Prepared { held, doors, ground, servers, warnings, ..prepared })
        }
        Err(error) => {
            // The first failure is what counts; `detach` can be called again.
            drop(detach(store, request.id));
            Err(error)
        }
    }
}

fn prepare_pasta(
    store: &Store,
    request: &Request<'_>,
    options: &PastaOptions,
    mut endpoint: Endpoint,
) -> Result<Prepared> {
    let ports = ports::reserve(request.ports, Listener::Program)?.ports;
    let host = request.names.hosts.iter().any(|(_, address)| address == HOST_GATEWAY);
    let plan = pasta::plan(&ports, options, host, store.runroot())?;
    endpoint.ports = ports;
    endpoint.name_server = plan.name_server();
    endpoint.host = plan.host();
    // pasta gives the container the host's addresses; what it did is looked up later.
    Links::open()
        .and_then(|mut links| describe(&mut endpoint, &mut links))
        .context(|| "cannot look up this machine's address")?;
    for connection in &mut endpoint.connections {
        connection.mac = None;
    }
    Ok(Prepared::new(request, Way::Pasta(plan), endpoint))
}

fn prepare_slirp(plan: slirp::Plan, request: &Request<'_>, plain: Endpoint) -> Result<Prepared> {
    let Reserved { ports, doors, .. } = ports::reserve(request.ports, Listener::Relay)?;
    let prepared = prepared_slirp(request, plan, Endpoint { ports, ..plain })?;
    Ok(Prepared { doors, ..prepared })
}

fn prepared_slirp(
    request: &Request<'_>,
    plan: slirp::Plan,
    endpoint: Endpoint,
) -> Result<Prepared> {
    pasta::check_device()?;
    let (name_server, host) =
        (plan.name_server(), plan.host().or_else(|| own_address(|own, out| own == out)));
    Ok(Prepared::new(request, Way::Slirp(plan), Endpoint { name_server, host, ..endpoint }))
}

/// Gives ports that name no address of this machine the one that the first network has for them.
fn with_usual_address<'a>(
    store: &Store,
    members: &[Membership],
    ports: &'a [PortMapping],
) -> Result<Cow<'a, [PortMapping]>> {
    let Some(member) = members.first().filter(|_| !ports.is_empty()) else {
        return Ok(ports.into());
    };
    let network = store.networks().get(&member.network)?;
    let Some(address) = network.and_then(|network| network.spec.publish_at()) else {
        return Ok(ports.into());
    };
    let mut own = ports.to_vec();
    for port in &mut own {
        port.host_ip = port.host_ip.or(Some(address));
    }
    Ok(own.into())
}

/// How long somebody waits for an address that others give, at most.
pub const PATIENCE: Duration = dhcp::PATIENCE;

/// Says that nobody has given an address on a network in time.
pub fn nobody_gives(network: &str) -> Error {
    dhcp::nobody_gives(network)
}

/// Connects a network namespace as it was prepared. On failure nothing is left of it. Where others give
/// addresses, those are still to come: see [`Attached::asks_on`].
pub fn attach(store: &Store, prepared: Prepared, netns: BorrowedFd<'_>) -> Result<Attached> {
    let Prepared { id, way, endpoint, held, doors, ground, servers, warnings } = prepared;
    let mut attached = Attached::new(store, endpoint, held, ground, warnings);
    let network = attached.endpoint.network().to_owned();
    let connected = match &way {
        Way::Host => Ok(()),
        Way::Loopback => loopback_up(netns),
        Way::Bridges(bridges) => attach_bridges(store, bridges, &id, &mut attached, netns),
        Way::Pasta(plan) => attach_program(pasta::start(plan, netns), &mut attached, netns),
        Way::Slirp(plan) => attach_program(slirp::start(plan, netns), &mut attached, netns),
    }
    .and_then(|()| {
        // The address that slirp4netns has given it is known in there only.
        let from = matches!(way, Way::Slirp(_)).then_some(netns);
        attached.listen(&id, &servers, doors, netns, from)
    })
    .and_then(|()| {
        attached.endpoint.connections.iter().try_for_each(|it| join::announce(store, &id, it))
    })
    .context(|| format!("cannot connect to network `{network}`"));
    if let Err(error) = connected {
        attached.give_up(&id);
        // The first failure is what counts; `detach` can be called again.
        drop(detach(store, &id));
        return Err(error);
    }
    Ok(attached)
}

fn attach_bridges(
    store: &Store,
    bridges: &[Bridge],
    id: &ContainerId,
    attached: &mut Attached,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    // All others come with an interface.
    if bridges.is_empty() {
        loopback_up(netns)?;
    }
    let Attached { ground, endpoint, clients, kept, .. } = attached;
    *kept = Some(netns.try_clone_to_owned().context(|| "cannot keep a namespace")?);
    // The first that leads out is the way out.
    let mut order: Vec<usize> = (0..bridges.len()).collect();
    order.sort_by_key(|index| Reverse(endpoint.connections[*index].priority));
    for index in order {
        let (bridge, connection) = (&bridges[index], &endpoint.connections[index]);
        veth::connect(ground, bridge, id, connection, netns)?;
        if bridge.dhcp {
            let interface = connection.interface.as_deref().unwrap_or_default();
            let client = dhcp::Client::of(connection, netns);
            clients
                .extend(client.context(|| format!("cannot ask for an address of `{interface}`"))?);
        } else if bridge.plugin.is_some() {
            join::plug(store, bridge, id, endpoint, index, netns)?;
        }
    }
    publish::publish(store, ground, id, endpoint)
}

fn attach_program(
    started: Result<Helper>,
    attached: &mut Attached,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let endpoint = &mut attached.endpoint;
    let helper = match started {
        Ok(helper) => helper,
        // Older versions refuse to work where there is nothing to be connected to.
        Err(error) if endpoint.ports.is_empty() && is_offline() => {
            let name = endpoint.network().to_owned();
            *endpoint = Endpoint::default();
            endpoint.connections.push(Connection { network: name, ..Connection::default() });
            let text = format!("the machine is offline, the container has no network: {error}");
            attached.warnings.push(text);
            return loopback_up(netns);
        }
        Err(error) => return Err(error),
    };
    attached.helper = Some(helper);
    Links::open_in(netns)
        .and_then(|mut links| describe(endpoint, &mut links))
        .context(|| "cannot see how the namespace was connected")
}

/// Tells whether there is no way from this machine to anywhere.
fn is_offline() -> bool {
    matches!(Links::open().and_then(|mut links| links.uplink()), Ok(None))
}

/// Returns an address of this machine on an interface that is wanted, given its number and that of the way
/// out.
fn own_address(is_wanted: impl Fn(u32, u32) -> bool) -> Option<IpAddr> {
    let mut links = Links::open().ok()?;
    let out = links.uplink().ok()??.index;
    let addresses = links.addresses().ok()?.into_iter();
    let wanted = addresses.filter(|(index, own)| {
        let is_near = match own.address() {
            IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
            IpAddr::V6(_) => true,
        };
        is_wanted(*index, out) && !is_near
    });
    wanted.map(|(_, own)| own.address()).next()
}

/// Fills in what somebody else has set up.
fn describe(endpoint: &mut Endpoint, links: &mut Links) -> std::io::Result<()> {
    let Some(uplink) = links.uplink()? else { return Ok(()) };
    let Some(connection) = endpoint.connections.first_mut() else { return Ok(()) };
    connection.gateways = uplink.gateway.into_iter().collect();
    let addresses = links.addresses()?;
    let own = addresses.into_iter().filter(|(index, _)| *index == uplink.index);
    connection.addresses = own.map(|(_, address)| address).collect();
    if let Some(link) = links.by_index(uplink.index)? {
        connection.mac = link.mac.map(link::mac_text);
        connection.interface = Some(link.name);
    }
    Ok(())
}

/// Gives back whatever a container holds of the network. To do so twice is fine.
///
/// Goes on after a failure and returns the first one.
pub fn detach(store: &Store, id: &ContainerId) -> Result<()> {
    let Some(endpoint) = store.endpoint::<Endpoint>(id)? else { return Ok(()) };
    let ground = Ground::of(store, endpoint.shared)?;
    let endpoint = give_back(store, &ground, id)?.unwrap_or_default();
    let mut networks = endpoint.connections.iter();
    networks.try_for_each(|it| bridge::remove_if_temporary(store, &ground, &it.network))
}

/// As [`detach`], but leaves networks up that nobody is on any more: for those who hold the lock of the
/// set-up, which taking a network down waits for.
fn give_back(store: &Store, ground: &Ground, id: &ContainerId) -> Result<Option<Endpoint>> {
    let Some(endpoint) = store.endpoint::<Endpoint>(id)? else { return Ok(None) };
    let is_there = !ground.is_gone();
    let mut result = if is_there { publish::withdraw(store, ground, id) } else { Ok(()) };
    for connection in &endpoint.connections {
        if is_there {
            result = result.and(veth::disconnect(ground, id, connection.number));
        }
        if let Some(attachment) = &connection.attachment {
            // Its namespace is gone, or goes.
            result = result.and(attachment.remove(id, connection, None));
        }
        result = result.and(join::release(store, id, connection));
    }
    // Stays if something is left to be given back.
    result.and_then(|()| store.remove_endpoint(id)).map(|()| Some(endpoint))
}

/// Makes interfaces and firewall rules anew, as the records want them: after another program has
/// removed them.
pub fn reload(store: &Store) -> Result<()> {
    bridge::reload(store)
}

/// Takes down a network on which there are no containers any more.
pub fn take_down(store: &Store, network: &str) -> Result<()> {
    plugin::forget(store, network)?;
    let Some(bridge) = store.network(network).load::<Bridge>()? else { return Ok(()) };
    let ground = Ground::of(store, bridge.shared)?;
    bridge::free_dead(store, &ground, network)?;
    bridge::remove(store, &ground, network)?;
    // The next one who has to do with firewalld tells it.
    drop(firewalld::admit(store, &ground));
    Ok(())
}

/// Tells whether there is an interface of this name.
pub fn has_interface(name: &str) -> Result<bool> {
    let found = Links::open().and_then(|mut links| links.find(name));
    Ok(found.context(|| format!("cannot look up interface `{name}`"))?.is_some())
}

/// Returns the addresses that the default network has while it is set up.
pub fn default_subnets(store: &Store) -> Result<Vec<Cidr>> {
    let bridge = store.network(DEFAULT_NETWORK).load::<Bridge>()?;
    Ok(bridge.map(|bridge| bridge.gateways).unwrap_or_default())
}

/// Fills in what the default network has, or would have if nothing else had it.
pub fn describe_default(store: &Store, network: &mut Network) -> Result<()> {
    let known = store.network(DEFAULT_NETWORK).load::<Bridge>()?;
    let interface = known.as_ref().map(|bridge| bridge.interface.clone());
    network.interface = interface.unwrap_or_else(|| choose::interface_name(store.runroot()));
    let gateways = match known {
        Some(bridge) => bridge.gateways,
        None => choose::default_gateway(&defaults::read(&[])?.network),
    };
    let subnet =
        |it: Cidr| Subnet { subnet: it.network(), gateway: Some(it.address()), range: None };
    network.spec.subnets = gateways.into_iter().map(subnet).collect();
    Ok(())
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
