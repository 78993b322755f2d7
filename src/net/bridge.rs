//! Bridge networks: the default one, and those that users have made.
//!
//! One Linux bridge a network, made by the first container that needs it; each container has a port of
//! it ([`super::veth`]). One firewall table a store serves all of them ([`super::publish`]). Concurrent
//! makers take turns by a lock on the network namespace itself, which holds across stores: they share
//! interfaces and routes. Which namespace that is, [`super::ground`] says.

use std::fs;
use std::io;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::choose::{self, LARGEST_MTU, USUAL_INTERFACE, USUAL_MTU, interface_name};
use super::direct::{self, Vlan};
use super::ground::{Ground, SetupLock};
use super::link::{self, Link, Links};
use super::plugin::Plugin;
use super::{Connection, Endpoint, firewall, firewalld, give_back, publish, veth};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::spec::id::ContainerId;
use crate::spec::membership::DEFAULT_NETWORK;
use crate::spec::network_spec::{Ipam, Isolation, Sharing};
use crate::store::lock::Lock;
use crate::store::network::Network;
use crate::store::{Store, defaults};

/// A bridge network that is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bridge {
    /// Name of the network.
    pub(super) network: String,
    /// Name of the bridge's interface.
    pub(super) interface: String,
    /// The bridge's own addresses, which are the containers' gateways, with the network's prefixes.
    pub(super) gateways: Vec<Cidr>,
    /// First and last address for containers, in the same order.
    pub(super) ranges: Vec<(IpAddr, IpAddr)>,
    /// Largest packet.
    pub(super) mtu: u32,
    /// Whether there is no way out.
    pub(super) internal: bool,
    /// Whether its containers see each other.
    pub(super) neighbors: bool,
    /// Whether what goes out does so under this machine's address.
    pub(super) masquerades: bool,
    /// Whether containers on other networks are let in.
    pub(super) isolation: Isolation,
    /// How containers share the interface of that name, on a network that is no bridge but what it is on.
    #[serde(default)]
    pub(super) sharing: Option<Sharing>,
    /// The VLAN that the interface is, where we have made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vlan_of: Option<Vlan>,
    /// Addresses of others on the network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reserved: Vec<IpAddr>,
    /// Whether somebody on the network gives containers their addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) dhcp: bool,
    /// What makes the network, if we do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plugin: Option<Plugin>,
    /// Whether it is a bridge of this machine's that others have made, and see to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unmanaged: bool,
    /// The tag of the VLAN of the bridge that its ports are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vlan: Option<u16>,
    /// Whether the relay can use the addresses of those who come to published ports.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) visitors: bool,
    /// Whether it is in the namespace that containers share without root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) shared: bool,
}

impl Bridge {
    /// Returns the addresses that the containers send to what is not on the network.
    pub(super) fn ways_out(&self) -> impl Iterator<Item = IpAddr> {
        self.gateways.iter().filter(|_| !self.internal).map(|gateway| gateway.address())
    }

    /// Tells whether it is a network of others, with which bridges and the firewall have nothing to do.
    pub(super) fn is_direct(&self) -> bool {
        self.sharing.is_some() || self.plugin.is_some() || self.unmanaged
    }

    /// Tells whether containers have ports of it.
    fn has_ports(&self) -> bool {
        self.sharing.is_none() && self.plugin.is_none()
    }

    /// Sets up a port of it, once it is there.
    pub(super) fn set_port(&self, links: &mut Links, port: &str) -> io::Result<()> {
        links.set_port(port, !self.neighbors)?;
        match self.vlan.filter(|_| self.unmanaged) {
            Some(id) => links.set_port_vlan(port, id),
            // Where the bridge is ours, that is what all of its ports are in.
            None => Ok(()),
        }
    }

    /// Tells whether the network has IPv6.
    pub(super) fn has_ipv6(&self) -> bool {
        self.gateways.iter().any(|gateway| gateway.address().is_ipv6())
    }

    /// Leases an address of each version of IP that the network has to a container, or the ones that
    /// it must have.
    ///
    /// One that is held by a container whose monitor was killed is free, once that is cleaned up.
    pub(super) fn lease(
        &self,
        store: &Store,
        ground: &Ground,
        id: &ContainerId,
        wanted: &[IpAddr],
    ) -> Result<Vec<Cidr>> {
        for address in wanted {
            if !self.gateways.iter().any(|gateway| gateway.contains(*address)) {
                let name = &self.network;
                return Err(Error::new(
                    Kind::Invalid,
                    format!("requested static ip {address} not in any subnet on network {name}"),
                ));
            }
        }
        let mut leased = Vec::new();
        for (gateway, range) in self.gateways.iter().zip(&self.ranges) {
            let is_like = |it: &&IpAddr| it.is_ipv4() == gateway.address().is_ipv4();
            let address = match wanted.iter().find(is_like) {
                Some(address) => self.lease_exactly(store, ground, id, *gateway, *address)?,
                None => self.lease_any(store, ground, id, *gateway, *range)?,
            };
            leased.extend(Cidr::new(address, gateway.prefix()));
        }
        Ok(leased)
    }

    fn lease_exactly(
        &self,
        store: &Store,
        ground: &Ground,
        id: &ContainerId,
        gateway: Cidr,
        address: IpAddr,
    ) -> Result<IpAddr> {
        let (first, last) = gateway.range();
        let is_special = address == first || address.is_ipv4() && address == last;
        if is_special || address == gateway.address() {
            return Err(Error::new(
                Kind::Invalid,
                format!("requested ip address {address} cannot be a container's"),
            )
            .hint("it is the gateway's, or stands for the network or all that is on it"));
        }
        if self.reserved.contains(&address) {
            let text = format!("requested ip address {address} is an auxiliary one");
            return Err(Error::new(Kind::Conflict, text)
                .hint("it was kept from containers when the network was made"));
        }
        let record = store.network(&self.network);
        loop {
            if record.lease_exactly(address, id)? {
                return Ok(address);
            }
            let Some(holder) = record.holder(address) else { continue };
            if !free_if_dead(store, ground, &holder)? {
                return Err(Error::new(
                    Kind::Conflict,
                    format!(
                        "IPAM error: requested ip address {address} is already allocated to container ID {holder}"
                    ),
                ));
            }
        }
    }

    fn lease_any(
        &self,
        store: &Store,
        ground: &Ground,
        id: &ContainerId,
        gateway: Cidr,
        range: (IpAddr, IpAddr),
    ) -> Result<IpAddr> {
        let record = store.network(&self.network);
        let mut besides = vec![gateway.address()];
        besides.extend_from_slice(&self.reserved);
        if self.is_direct() {
            // This machine is one of those on the network.
            let own = Links::open().and_then(|mut links| links.addresses());
            let own = own.context(|| "cannot list addresses")?;
            besides.extend(own.into_iter().map(|(_, address)| address.address()));
        }
        if let Some(address) = record.lease(range, &besides, id)? {
            return Ok(address);
        }
        free_dead(store, ground, &self.network)?;
        record.lease(range, &besides, id)?.ok_or_else(|| {
            let (first, last) = range;
            Error::new(
                Kind::Unavailable,
                format!(
                    "IPAM error: failed to find free IP in range: {first} - {last} of network {}",
                    self.network
                ),
            )
            .hint("stop containers that are not needed")
        })
    }
}

/// Gives back what containers on a network hold whose monitors were killed.
pub(super) fn free_dead(store: &Store, ground: &Ground, network: &str) -> Result<()> {
    for (_, holder) in store.network(network).leases()? {
        free_if_dead(store, ground, &holder)?;
    }
    Ok(())
}

/// Gives back what a container holds whose monitor was killed; `false` if it lives.
fn free_if_dead(store: &Store, ground: &Ground, holder: &ContainerId) -> Result<bool> {
    let mark = store.containers().monitor_mark(holder);
    let _not_started_meanwhile = match Lock::try_exclusive(&mark) {
        Ok(Some(lock)) => Some(lock),
        Ok(None) => return Ok(false),
        // It has no directory: it is gone altogether.
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => return Err(error),
    };
    give_back(store, ground, holder).map(|_| true)
}

/// Makes sure that a network is there, and makes it if it is not.
///
/// It stays for as long as the lock is held, or a lease that was taken meanwhile.
pub(super) fn ensure(
    store: &Store,
    ground: &Ground,
    network: &Network,
) -> Result<(Bridge, SetupLock)> {
    let name = &network.name;
    let record = store.network(name);
    let mut links = ground.links()?;
    // Between our making it and our locking it, its last container may go and take it along.
    for _ in 0..100 {
        let lock = ground.lock_shared()?;
        let known = record.load::<Bridge>()?;
        if let Some(bridge) = known
            && is_up(store, ground, &mut links, &bridge)?
        {
            return Ok((bridge, lock));
        }
        drop(lock);
        let _lock = ground.lock()?;
        // Somebody else may have made it while we waited.
        let bridge = match record.load::<Bridge>()? {
            Some(bridge) if is_up(store, ground, &mut links, &bridge)? => continue,
            // Containers may have leases: made anew, it is the network that it was.
            Some(bridge) => bridge,
            None => decide(store, ground, &mut links, network)?,
        };
        make(ground, &mut links, &bridge)
            .and_then(|()| plug_all(store, &mut links, &bridge))
            .and_then(|()| match bridge.is_direct() {
                true => Ok(()),
                false => publish::install(store, ground, Some(&bridge)),
            })
            .context(|| format!("cannot make network `{name}`"))?;
        record.save(&bridge)?;
    }
    Err(Error::new(Kind::Unavailable, format!("network `{name}` does not last"))
        .hint("something removes its interface or its firewall table; see `ip link`"))
}

/// Tells whether interface and firewall table are there: others may have removed them.
fn is_up(store: &Store, ground: &Ground, links: &mut Links, bridge: &Bridge) -> Result<bool> {
    let is_there = bridge.plugin.is_some() || find(links, &bridge.interface)?.is_some();
    Ok(is_there
        && (bridge.is_direct()
            || firewall::is_installed(ground, &interface_name(store.runroot()))?))
}

/// Returns the networks of a store that are set up.
pub(super) fn all(store: &Store) -> Result<Vec<Bridge>> {
    let mut bridges = Vec::new();
    for name in store.networks_in_use()? {
        bridges.extend(store.network(&name).load::<Bridge>()?);
    }
    Ok(bridges)
}

/// Makes interfaces and firewall table anew, as the records want them.
pub(super) fn reload(store: &Store) -> Result<()> {
    let shared = all(store)?.iter().any(|bridge| bridge.shared);
    let ground = &Ground::of(store, shared)?;
    if ground.is_gone() {
        return Ok(());
    }
    let lock = ground.lock()?;
    let bridges = all(store)?;
    let mut links = ground.links()?;
    for bridge in &bridges {
        make(ground, &mut links, bridge)
            .and_then(|()| plug_all(store, &mut links, bridge))
            .context(|| format!("cannot reload network `{}`", bridge.network))?;
    }
    if !bridges.iter().all(Bridge::is_direct) {
        publish::install(store, ground, None)?;
    }
    drop(lock);
    firewalld::admit_anew(store, ground)
}

/// Takes a network down if no container is on it.
pub(super) fn remove(store: &Store, ground: &Ground, name: &str) -> Result<()> {
    // Of one that is gone nothing is left to be kept from others.
    let _lock = (!ground.is_gone()).then(|| ground.lock()).transpose()?;
    let record = store.network(name);
    let Some(bridge) = record.load::<Bridge>()? else { return Ok(()) };
    if !record.leases()?.is_empty() {
        return Err(in_use(name));
    }
    if ground.is_gone() {
        return record.remove();
    }
    if bridge.vlan_of.is_some() {
        // Not all who are on it have leases of ours.
        let is_on_it = |it: &Connection| it.network == name;
        let mut all = store.endpoints::<Endpoint>()?.into_iter();
        if all.any(|(_, endpoint)| endpoint.connections.iter().any(is_on_it)) {
            return Err(in_use(name));
        }
    }
    if bridge.is_direct() {
        record.remove()?;
        return direct::remove(&mut ground.links()?, &bridge, &all(store)?);
    }
    // Its rules go first: what is off the record is nobody's any more.
    record.remove()?;
    if all(store)?.iter().all(Bridge::is_direct) {
        publish::remove(store, ground)?;
    } else {
        publish::install(store, ground, None)?;
    }
    ground
        .links()?
        .remove(&bridge.interface)
        .context(|| format!("cannot remove bridge `{}`", bridge.interface))
}

fn in_use(name: &str) -> Error {
    Error::new(Kind::Conflict, format!("network `{name}` is in use by containers"))
        .hint("stop them first")
}

/// Takes a network down behind its last container, unless it is the default one of a store in the
/// usual place, which makes the next start quicker.
///
/// A store in another place is often gone a moment later, and nobody would ever remove its bridge.
pub(super) fn remove_if_temporary(store: &Store, ground: &Ground, name: &str) -> Result<()> {
    if ground.is_away() {
        return Ok(());
    }
    let record = store.network(name);
    match record.load::<Bridge>()? {
        Some(bridge) if bridge.interface != USUAL_INTERFACE && record.leases()?.is_empty() => {}
        _ => return Ok(()),
    }
    match remove(store, ground, name) {
        // Somebody has come.
        Err(error) if error.kind() == Kind::Conflict => Ok(()),
        other => {
            // The next one who has to do with firewalld tells it.
            drop(firewalld::admit(store, ground));
            other
        }
    }
}

pub(super) fn find(links: &mut Links, name: &str) -> Result<Option<Link>> {
    links.find(name).context(|| format!("cannot look up interface `{name}`"))
}

/// Decides what the network will be: what its interface has, if it is there, or what is free; or what
/// was decided when a user made it.
fn decide(store: &Store, ground: &Ground, links: &mut Links, network: &Network) -> Result<Bridge> {
    let spec = &network.spec;
    let sharing = spec.sharing();
    let plugin = Plugin::of(store, network);
    let unmanaged = spec.is_unmanaged();
    if (sharing.is_some() || plugin.is_some() || unmanaged) && ground.is_shared() {
        let (what, hint) = match unmanaged {
            true => ("on bridges that others have made".to_owned(), "leave out -o mode=unmanaged"),
            false => {
                (format!("of driver {}", spec.driver.as_str()), "use a network of driver bridge")
            }
        };
        let text = format!("networks {what} need root: they change the machine's own network");
        return Err(Error::new(Kind::Unsupported, text).hint(hint));
    }
    let mut vlan_of = None;
    let (interface, gateways) = match network.name.as_str() {
        DEFAULT_NETWORK => choose_default(store, ground, links)?,
        _ if plugin.is_some() => (String::new(), Vec::new()),
        _ => {
            let gateway = |it: &crate::spec::network_spec::Subnet| {
                Cidr::new(it.gateway.or_else(|| it.subnet.nth(1))?, it.subnet.prefix())
            };
            let interface = match sharing {
                Some(_) => {
                    let (parent, vlan) = direct::parent(links, spec)?;
                    vlan_of = vlan.or_else(|| vlan_of_other(store, &parent));
                    parent
                }
                None => network.interface.clone(),
            };
            (interface, spec.subnets.iter().filter_map(gateway).collect())
        }
    };
    let range = |gateway: &Cidr| {
        let subnet = spec.subnets.iter().find(|it| it.subnet.contains(gateway.address()));
        subnet.and_then(|it| it.range).unwrap_or_else(|| choose::host_range(*gateway))
    };
    let mtu = match spec.mtu() {
        Some(mtu) => mtu,
        // As large as what they go out by.
        None if sharing.is_some() || unmanaged => {
            let lower = vlan_of.as_ref().map_or(&interface, |vlan| &vlan.parent);
            find(links, lower)?.map_or(USUAL_MTU, |link| link.mtu)
        }
        None => {
            // What goes on by pasta goes on as its own connection.
            let most = if ground.is_shared() { LARGEST_MTU } else { USUAL_MTU };
            let uplink = choose::uplink_mtu(links, most);
            uplink.context(|| "cannot look up the default route")?.unwrap_or(USUAL_MTU)
        }
    };
    Ok(Bridge {
        network: network.name.clone(),
        interface,
        ranges: gateways.iter().map(range).collect(),
        gateways,
        mtu,
        internal: spec.internal,
        neighbors: spec.neighbors(),
        // Nobody out there knows the way back to a namespace of a user's.
        masquerades: spec.masquerades() || ground.is_shared(),
        isolation: spec.isolation(),
        sharing,
        vlan_of,
        plugin,
        unmanaged,
        vlan: spec.vlan(),
        reserved: spec.reserved.values().copied().collect(),
        dhcp: spec.ipam == Ipam::Dhcp,
        // A kernel may have one table of routes only: then containers see their gateway in their place.
        visitors: ground.is_shared() && links.let_visitors_return().is_ok(),
        shared: ground.is_shared(),
    })
}

/// Returns the VLAN that an interface is by which another network is, and which we have made.
fn vlan_of_other(store: &Store, interface: &str) -> Option<Vlan> {
    let others = all(store).unwrap_or_default();
    others.into_iter().find(|other| other.interface == interface)?.vlan_of
}

fn choose_default(
    store: &Store,
    ground: &Ground,
    links: &mut Links,
) -> Result<(String, Vec<Cidr>)> {
    let interface = interface_name(store.runroot());
    if let Some(link) = find(links, &interface)? {
        let addresses = links.addresses().context(|| "cannot list addresses")?;
        if let Some((_, gateway)) = addresses.into_iter().find(|(index, _)| *index == link.index) {
            return Ok((interface, vec![gateway]));
        }
    }
    let usual = defaults::read(&[])?.network;
    if usual.subnet.is_some() {
        let named = choose::default_gateway(&usual);
        let made = made_subnets(store)?;
        if let Some(network) = named.iter().find(|it| made.iter().any(|own| own.overlaps(**it))) {
            let text = format!("default_subnet {} is that of another network", network.network());
            return Err(Error::new(Kind::Conflict, text).hint(
                "name another one in containers.conf, or remove that network; see `barge network ls`",
            ));
        }
        return Ok((interface, named));
    }
    let mut taken = links.networks().context(|| "cannot list routes")?;
    if ground.is_shared() {
        let of_machine = Links::open().and_then(|mut links| links.networks());
        taken.extend(of_machine.context(|| "cannot list routes")?);
    }
    // Those that are down have no routes.
    taken.extend(made_subnets(store)?);
    let gateway = choose::free_network(&taken, None, true).ok_or_else(choose::no_network)?;
    Ok((interface, vec![gateway]))
}

/// Returns the addresses of the networks that users have made.
fn made_subnets(store: &Store) -> Result<Vec<Cidr>> {
    let networks = store.networks().list()?;
    Ok(networks.iter().flat_map(|it| &it.spec.subnets).map(|it| it.subnet).collect())
}

/// Makes the interfaces of all containers on a network ports of its bridge: somebody may have removed
/// that, and they were left behind.
fn plug_all(store: &Store, links: &mut Links, bridge: &Bridge) -> Result<()> {
    let Some(link) = find(links, &bridge.interface)?.filter(|_| bridge.has_ports()) else {
        return Ok(());
    };
    for (id, endpoint) in store.endpoints::<Endpoint>()? {
        for connection in endpoint.connections.iter().filter(|it| it.network == bridge.network) {
            let name = veth::host_interface(&id, connection.number);
            links.plug(&name, link.index).context(|| format!("cannot plug `{name}` in"))?;
            match bridge.set_port(links, &name) {
                // It is gone, or not there yet.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.context(|| format!("cannot set up `{name}`"))?,
            }
        }
    }
    Ok(())
}

fn make(ground: &Ground, links: &mut Links, bridge: &Bridge) -> Result<()> {
    let name = &bridge.interface;
    if bridge.unmanaged {
        return direct::find_bridge(links, bridge);
    }
    if bridge.is_direct() {
        return if bridge.plugin.is_some() { Ok(()) } else { direct::make(links, bridge) };
    }
    if bridge.visitors {
        links.let_visitors_return().context(|| "cannot add a rule for routes")?;
    }
    let addresses = bridge.gateways.iter().map(|gateway| gateway.address());
    let mac = link::mac_of_bridge(addresses, name);
    match links.add_bridge(name, mac, bridge.vlan) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) && bridge.vlan.is_some() => {
            return Err(Error::new(Kind::Unsupported, "this kernel's bridges have no VLANs")
                .hint("it needs CONFIG_BRIDGE_VLAN_FILTERING; leave out -o vlan=")
                .caused_by(error));
        }
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            return Err(Error::new(Kind::Unsupported, "this kernel has no bridges")
                .hint("load the module `bridge`, or use --network host or none")
                .caused_by(error));
        }
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            return Err(Error::new(Kind::Denied, format!("cannot make bridge `{name}`"))
                .hint("this needs the capability NET_ADMIN; or use --network host or none")
                .caused_by(error));
        }
        other => other.context(|| format!("cannot make bridge `{name}`"))?,
    }
    let link = find(links, name)?
        .ok_or_else(|| Error::new(Kind::NotFound, format!("bridge `{name}` is gone again")))?;
    let set = |path: String, value| {
        ground.set(&path, value).context(|| format!("cannot set {path} to {value}"))
    };
    // No container may become this machine's router by announcing itself (CVE-2020-13401).
    let ipv6 = match bridge.has_ipv6() {
        false => set(format!("net/ipv6/conf/{name}/disable_ipv6"), "1"),
        true => set(format!("net/ipv6/conf/{name}/disable_ipv6"), "0")
            .and_then(|()| set(format!("net/ipv6/conf/{name}/accept_ra"), "0"))
            .and_then(|()| match ground {
                Ground::Own => forward_ipv6(),
                _ => set("net/ipv6/conf/all/forwarding".to_owned(), "1"),
            }),
    };
    match ipv6 {
        Err(error) if error.kind() == Kind::NotFound && !bridge.has_ipv6() => {}
        other => other?,
    }
    for gateway in &bridge.gateways {
        links
            .add_address(link.index, *gateway)
            .context(|| format!("cannot give `{name}` the address {gateway}"))?;
    }
    links.set_up(link.index).context(|| format!("cannot take `{name}` up"))?;
    // Published ports on 127.0.0.1: the way back leads through here.
    set(format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
    if bridge.internal { Ok(()) } else { set("net/ipv4/ip_forward".to_owned(), "1") }
}

/// Lets this machine pass IPv6 on. An interface that has learned its way out from a router's
/// announcements would forget it then, unless told otherwise.
fn forward_ipv6() -> Result<()> {
    let all = "/proc/sys/net/ipv6/conf";
    let context = || format!("cannot set up IPv6 in {all}");
    let forwarding = format!("{all}/all/forwarding");
    if fs::read_to_string(&forwarding).context(context)?.trim() == "1" {
        return Ok(());
    }
    for entry in fs::read_dir(all).context(context)? {
        let path = entry.context(context)?.path().join("accept_ra");
        // An interface that went away meanwhile.
        let accepts = fs::read_to_string(&path).is_ok_and(|text| text.trim() == "1");
        if accepts {
            fs::write(&path, "2").context(|| format!("cannot set {}", path.display()))?;
        }
    }
    fs::write(&forwarding, "1").context(|| format!("cannot set {forwarding}"))
}
