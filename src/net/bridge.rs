//! The default bridge network.
//!
//! One Linux bridge a store, made by the first container that needs it; each container has
//! a pair of interfaces, one end of it a port of the bridge, and one firewall table of the bridge's
//! name. Concurrent makers take turns by a lock on the network namespace itself, which holds across
//! stores: they share interfaces and routes.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Endpoint;
use super::cidr::Cidr;
use super::firewall::{self, Network, Publication, Published};
use super::link::{self, Link, Links, Veth};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::{ContainerId, to_hex};
use crate::store::Store;
use crate::sys::netns;

/// Name of the default network.
pub const DEFAULT_NETWORK: &str = "bridge";
/// Name of a container's interface.
pub(super) const INTERFACE: &str = "eth0";
/// The store that most machines have only; its bridge has a short name.
const USUAL_RUNROOT: &str = "/run/barge";
/// The interface and the firewall table of that store.
pub(super) const USUAL_INTERFACE: &str = "barge0";
/// What an interface carries if there is no other to take after.
const USUAL_MTU: u32 = 1500;

/// A bridge network that is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bridge {
    /// Name of the bridge's interface, and of the firewall table.
    pub(super) interface: String,
    /// The bridge's own address, which is the containers' gateway, with the network's prefix.
    pub(super) gateway: Cidr,
    /// Largest packet.
    pub(super) mtu: u32,
}

/// Keeps others from changing the network set-up of this namespace.
pub(super) struct SetupLock(#[expect(dead_code, reason = "unlocks when it is closed")] File);

impl SetupLock {
    /// Waits until nobody else is at it, and keeps all others out.
    fn exclusive() -> Result<Self> {
        Self::take(FlockOperation::LockExclusive)
    }

    /// Waits until nobody makes or removes networks, and keeps it so.
    fn shared() -> Result<Self> {
        Self::take(FlockOperation::LockShared)
    }

    fn take(operation: FlockOperation) -> Result<Self> {
        let path = "/proc/thread-self/ns/net";
        let file = File::open(path).context(|| format!("cannot open {path}"))?;
        rustix::io::retry_on_intr(|| flock(&file, operation))
            .context(|| format!("cannot lock {path}"))?;
        Ok(Self(file))
    }
}

impl Bridge {
    /// Returns the address that the containers send to what is not on the network.
    pub(super) fn gateway_address(&self) -> IpAddr {
        self.gateway.address()
    }

    /// Leases an address to a container.
    pub(super) fn lease(&self, store: &Store, id: &ContainerId) -> Result<Cidr> {
        let (first, last) = self.host_range();
        let leased = store.network(DEFAULT_NETWORK).lease(first, last, id)?;
        leased.and_then(|address| Cidr::new(address, self.gateway.prefix())).ok_or_else(|| {
            let name = DEFAULT_NETWORK;
            Error::new(Kind::Unavailable, format!("no address is free in network `{name}`"))
                .hint("stop containers that are not needed")
        })
    }

    /// Returns the first and the last address for containers: behind the gateway's, before the one
    /// for broadcasts.
    fn host_range(&self) -> (Ipv4Addr, Ipv4Addr) {
        let (first, last) =
            self.gateway.ipv4_range().unwrap_or((Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED));
        ((u32::from(first).saturating_add(2)).into(), (u32::from(last).saturating_sub(1)).into())
    }
}

/// Makes sure that the default network is there, and makes it if it is not.
///
/// It stays for as long as the lock is held, or a lease that was taken meanwhile.
pub(super) fn ensure(store: &Store) -> Result<(Bridge, SetupLock)> {
    let record = store.network(DEFAULT_NETWORK);
    let mut links = Links::open().context(|| "cannot open a netlink socket")?;
    // Between our making it and our locking it, its last container may go and take it along.
    for _ in 0..100 {
        let lock = SetupLock::shared()?;
        let known = record.load::<Bridge>()?;
        if let Some(bridge) = known
            && is_up(&mut links, &bridge)?
        {
            return Ok((bridge, lock));
        }
        drop(lock);
        let _lock = SetupLock::exclusive()?;
        // Somebody else may have made it while we waited.
        let bridge = match record.load::<Bridge>()? {
            Some(bridge) if is_up(&mut links, &bridge)? => continue,
            // Containers may have leases: made anew, it is the network that it was.
            Some(bridge) => bridge,
            None => choose(&mut links, interface_name(store.runroot()))?,
        };
        make(&mut links, &bridge)
            .and_then(|()| install(store, &bridge))
            .context(|| format!("cannot make network `{DEFAULT_NETWORK}`"))?;
        record.save(&bridge)?;
    }
    Err(Error::new(Kind::Unavailable, format!("network `{DEFAULT_NETWORK}` does not last"))
        .hint("something removes its interface or its firewall table; see `ip link`"))
}

/// Tells whether interface and firewall table are there: others may have removed them.
fn is_up(links: &mut Links, bridge: &Bridge) -> Result<bool> {
    Ok(find(links, &bridge.interface)?.is_some() && firewall::is_installed(&bridge.interface)?)
}

/// Makes interface and firewall table anew, as the records want them.
pub(super) fn reload(store: &Store) -> Result<()> {
    let _lock = SetupLock::exclusive()?;
    let Some(bridge) = store.network(DEFAULT_NETWORK).load::<Bridge>()? else { return Ok(()) };
    let mut links = Links::open().context(|| "cannot open a netlink socket")?;
    make(&mut links, &bridge)
        .and_then(|()| install(store, &bridge))
        .context(|| format!("cannot reload network `{DEFAULT_NETWORK}`"))
}

/// Removes the network if no container is on it.
pub(super) fn remove(store: &Store) -> Result<()> {
    let _lock = SetupLock::exclusive()?;
    let record = store.network(DEFAULT_NETWORK);
    let Some(bridge) = record.load::<Bridge>()? else { return Ok(()) };
    if !record.leases()?.is_empty() {
        return Err(Error::new(
            Kind::Conflict,
            format!("network `{DEFAULT_NETWORK}` is in use by containers"),
        )
        .hint("stop them first"));
    }
    firewall::remove(&bridge.interface)?;
    Links::open()
        .and_then(|mut links| links.remove(&bridge.interface))
        .context(|| format!("cannot remove bridge `{}`", bridge.interface))?;
    record.remove()
}

/// Removes the network of a store in an unusual place behind its last container.
///
/// Such a store is often gone a moment later, and nobody would ever remove its bridge. The one of
/// the usual store stays, which makes the next start quicker.
pub(super) fn remove_if_temporary(store: &Store) -> Result<()> {
    let record = store.network(DEFAULT_NETWORK);
    match record.load::<Bridge>()? {
        Some(bridge) if bridge.interface != USUAL_INTERFACE && record.leases()?.is_empty() => {}
        _ => return Ok(()),
    }
    match remove(store) {
        // Somebody has come.
        Err(error) if error.kind() == Kind::Conflict => Ok(()),
        other => other,
    }
}

/// Makes the firewall table with the published ports of all containers. The caller holds the lock.
fn install(store: &Store, bridge: &Bridge) -> Result<()> {
    let endpoints = settle(store)?;
    let publications: Vec<_> =
        endpoints.iter().filter_map(|(id, endpoint)| publication(id, endpoint)).collect();
    let network = Network { interface: &bridge.interface, subnet: bridge.gateway };
    firewall::install(&bridge.interface, &[network], &publications)
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
    let IpAddr::V4(address) = endpoint.addresses.first()?.address() else { return None };
    let ports = endpoint.ports.as_slice();
    (!ports.is_empty()).then_some(Publication { holder, address, ports })
}

/// Opens a container's published ports.
pub(super) fn publish(
    store: &Store,
    bridge: &Bridge,
    id: &ContainerId,
    endpoint: &Endpoint,
) -> Result<()> {
    let Some(publication) = publication(id, endpoint) else { return Ok(()) };
    let lock = SetupLock::shared()?;
    if firewall::publish(&bridge.interface, &publication)? == Published::Done {
        return Ok(());
    }
    // The table vanished since `ensure`, or a dead container's ports are in it. The new one will
    // have ours from the record.
    drop(lock);
    let _lock = SetupLock::exclusive()?;
    install(store, bridge)
}

/// Closes a container's published ports.
pub(super) fn withdraw(store: &Store, id: &ContainerId) -> Result<()> {
    let Some(bridge) = store.network(DEFAULT_NETWORK).load::<Bridge>()? else { return Ok(()) };
    let _lock = SetupLock::shared()?;
    // Read under the lock: see `settle`.
    let Some(endpoint) = store.endpoint::<Endpoint>(id)? else { return Ok(()) };
    match publication(id, &endpoint) {
        Some(publication) => firewall::withdraw(&bridge.interface, &publication),
        None => Ok(()),
    }
}

fn find(links: &mut Links, name: &str) -> Result<Option<Link>> {
    links.find(name).context(|| format!("cannot look up interface `{name}`"))
}

/// Decides what the network will be: what its interface has, if it is there, or what is free.
fn choose(links: &mut Links, interface: String) -> Result<Bridge> {
    if let Some(link) = find(links, &interface)? {
        let addresses = links.addresses().context(|| "cannot list addresses")?;
        if let Some((_, gateway)) = addresses.into_iter().find(|(index, _)| *index == link.index) {
            return Ok(Bridge { interface, gateway, mtu: link.mtu });
        }
    }
    let taken = links.networks().context(|| "cannot list routes")?;
    let gateway = free_network(&taken).ok_or_else(|| {
        Error::new(Kind::Unavailable, "no private network is free for containers")
            .hint("all of 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16 is routed; see `ip route`")
    })?;
    let mtu = uplink_mtu(links).context(|| "cannot look up the default route")?;
    Ok(Bridge { interface, gateway, mtu: mtu.unwrap_or(USUAL_MTU) })
}

/// Returns what the way out carries: a container that sends more would lose packets in tunnels.
fn uplink_mtu(links: &mut Links) -> io::Result<Option<u32>> {
    let Some(uplink) = links.uplink()? else { return Ok(None) };
    // Not more than usual: an interface with jumbo packets may lead to networks without.
    Ok(links.by_index(uplink.index)?.map(|link| link.mtu.min(USUAL_MTU)))
}

/// Returns the gateway of the first private network that overlaps none of those taken.
fn free_network(taken: &[Cidr]) -> Option<Cidr> {
    let large = [([10, 88], 16)].into_iter().map(|([a, b], prefix)| (a, b, 0, prefix));
    let small = (89..=255)
        .map(|b| (10, b))
        .chain((18..=31).map(|b| (172, b)))
        .chain([(192, 168), (172, 16), (172, 17)])
        .chain((0..=87).map(|b| (10, b)))
        .flat_map(|(a, b)| (0..=255).map(move |c| (a, b, c, 24)));
    large
        .chain(small)
        .filter_map(|(a, b, c, prefix)| Cidr::new(Ipv4Addr::new(a, b, c, 1), prefix))
        .find(|network| !taken.iter().any(|other| other.overlaps(*network)))
}

/// Returns the interface's name: no two stores share one.
fn interface_name(runroot: &Path) -> String {
    if runroot == Path::new(USUAL_RUNROOT) {
        return USUAL_INTERFACE.to_owned();
    }
    let hash = Sha256::digest(runroot.as_os_str().as_encoded_bytes());
    format!("barge-{}", to_hex(&hash[..4]))
}

fn make(links: &mut Links, bridge: &Bridge) -> Result<()> {
    let name = &bridge.interface;
    let IpAddr::V4(gateway) = bridge.gateway.address() else {
        return Err(Error::new(Kind::Internal, format!("`{}` is not IPv4", bridge.gateway)));
    };
    match links.add_bridge(name, link::mac_of(gateway)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            return Err(Error::new(Kind::Unsupported, "this kernel has no bridges")
                .hint("load the module `bridge`, or use --network host or none")
                .caused_by(error));
        }
        other => other.context(|| format!("cannot make bridge `{name}`"))?,
    }
    let link = find(links, name)?
        .ok_or_else(|| Error::new(Kind::NotFound, format!("bridge `{name}` is gone again")))?;
    links
        .add_address(link.index, bridge.gateway)
        .context(|| format!("cannot give `{name}` the address {}", bridge.gateway))?;
    links.set_up(link.index).context(|| format!("cannot take `{name}` up"))?;
    let set = |path: String, value| {
        link::set(&path, value).context(|| format!("cannot set {path} to {value}"))
    };
    // The network has no IPv6: no container may become this machine's router by announcing itself
    // (CVE-2020-13401).
    match set(format!("net/ipv6/conf/{name}/disable_ipv6"), "1") {
        Err(error) if error.kind() == Kind::NotFound => {}
        other => other?,
    }
    // Published ports on 127.0.0.1: the way back leads through here.
    set(format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
    set("net/ipv4/ip_forward".to_owned(), "1")
}

/// Connects a network namespace to the bridge.
pub(super) fn connect(
    bridge: &Bridge,
    id: &ContainerId,
    address: Cidr,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let mut links = Links::open().context(|| "cannot open a netlink socket")?;
    let port = find(&mut links, &bridge.interface)?.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("bridge `{}` is gone", bridge.interface))
            .hint("start the container again; that makes it anew")
    })?;
    disable_ipv6(target)?;
    let IpAddr::V4(own) = address.address() else {
        return Err(Error::new(Kind::Internal, format!("`{address}` is not IPv4")));
    };
    let name = host_interface(id);
    let veth = Veth {
        name: &name,
        bridge: port.index,
        mtu: bridge.mtu,
        peer_name: INTERFACE,
        peer_mac: link::mac_of(own),
        peer_netns: target,
    };
    let mut added = links.add_veth(&veth);
    if added.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        // Left by the last run of this container: the kernel takes its time with the namespace.
        links.remove(&name).context(|| format!("cannot remove interface `{name}`"))?;
        added = links.add_veth(&veth);
    }
    added
        .and_then(|()| links.allow_hairpin(&name))
        .context(|| format!("cannot make interface `{name}`"))?;
    configure(target, address, bridge.gateway_address())
        .context(|| format!("cannot set up `{INTERFACE}` in the container"))
}

fn configure(target: BorrowedFd<'_>, address: Cidr, gateway: IpAddr) -> io::Result<()> {
    let mut links = Links::open_in(target)?;
    links.set_loopback_up()?;
    let link = links.find(INTERFACE)?.ok_or(io::ErrorKind::NotFound)?;
    links.add_address(link.index, address)?;
    links.set_up(link.index)?;
    links.add_default_route(link.index, gateway)
}

/// Lets interfaces that come into a namespace have no IPv6, as their network has none: a neighbor
/// could announce itself as their router. Loopback keeps `::1`.
fn disable_ipv6(target: BorrowedFd<'_>) -> Result<()> {
    let path = c"/proc/sys/net/ipv6/conf/default/disable_ipv6";
    let written = netns::setting_in(target, path)
        .and_then(|mut setting| io::Write::write_all(&mut setting, b"1"));
    match written {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.context(|| "cannot switch off IPv6 in the container"),
    }
}

/// Disconnects a container; one that is not connected is fine.
///
/// Its interface is only unplugged. The kernel removes it with the namespace, in its own time; a
/// namespace that others have joined lives on, and must not use an address that is free again.
pub(super) fn disconnect(id: &ContainerId) -> Result<()> {
    let name = host_interface(id);
    Links::open()
        .and_then(|mut links| links.unplug(&name))
        .context(|| format!("cannot unplug interface `{name}`"))
}

/// Returns the name of a container's interface on the host.
fn host_interface(id: &ContainerId) -> String {
    format!("veth{}", &id.as_str()[..10])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn chooses_a_network_that_nobody_uses() {
        for (taken, want) in [
            (&[][..], Some("10.88.0.1/16")),
            (&["192.168.1.0/24", "10.87.0.0/16"], Some("10.88.0.1/16")),
            (&["10.88.7.0/24"], Some("10.89.0.1/24")),
            (&["10.88.0.1/32", "10.89.0.0/16"], Some("10.90.0.1/24")),
            (&["10.0.0.0/8"], Some("172.18.0.1/24")),
            (&["10.0.0.0/8", "172.16.0.0/12"], Some("192.168.0.1/24")),
            (&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], None),
        ] {
            let got = free_network(&cidrs(taken)).map(|network| network.to_string());
            assert_eq!(got.as_deref(), want, "{taken:?}");
        }
    }

    #[test]
    fn names_interfaces_within_the_limit() {
        assert_eq!(interface_name(Path::new(USUAL_RUNROOT)), "barge0");
        let other = interface_name(Path::new("/tmp/another"));
        assert!(other.starts_with("barge-") && other.len() < libc::IFNAMSIZ, "{other}");
        assert_ne!(other, interface_name(Path::new("/tmp/yet/another")));
        let id = "0123456789abcdef".repeat(4).parse().unwrap();
        assert!(host_interface(&id).len() < libc::IFNAMSIZ);
    }

    #[test]
    fn leaves_out_gateway_and_broadcast() {
        let bridge = Bridge {
            interface: String::new(),
            gateway: "10.1.2.1/24".parse().unwrap(),
            mtu: USUAL_MTU,
        };
        let range = (Ipv4Addr::new(10, 1, 2, 2), Ipv4Addr::new(10, 1, 2, 254));
        assert_eq!(bridge.host_range(), range);
    }
}
