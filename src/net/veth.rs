//! A container's port on a network: a pair of interfaces, one end in the container's namespace and the
//! other one on the bridge; or one in there that shares an interface of this machine.

use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

use super::bridge::Bridge;
use super::endpoint::{Connection, Endpoint};
use super::ground::Ground;
use super::link::{Links, Mac, Shared, Veth, mac_of};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::network_spec::Sharing;
use crate::sys::netns;

/// How long the interface of a container's last run may still be there, and how often that is looked at.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(5);

/// The most networks that a container can be on.
pub(super) const MOST: u8 = 36;

/// Connects a network namespace to a bridge. What has no better way goes there, unless an earlier
/// network of the container leads out.
pub(super) fn connect(
    ground: &Ground,
    bridge: &Bridge,
    id: &ContainerId,
    connection: &Connection,
    target: BorrowedFd<'_>,
) -> Result<()> {
    if bridge.plugin.is_some() {
        // It makes the interface.
        return super::loopback_up(target);
    }
    let mut links = ground.links()?;
    let port = links
        .find(&bridge.interface)
        .context(|| format!("cannot look up interface `{}`", bridge.interface))?
        .ok_or_else(|| {
            Error::new(Kind::NotFound, format!("bridge `{}` is gone", bridge.interface))
                .hint("start the container again; that makes it anew")
        })?;
    prepare_ipv6(bridge.has_ipv6(), target)?;
    let name = host_interface(id, connection.number);
    let interface = connection.interface.as_deref().unwrap_or_default();
    if let Some(sharing) = bridge.sharing {
        let (parent, mtu, netns) = (port.index, bridge.mtu, target);
        let mac = match sharing {
            Sharing::Macvlan(_) => Some(mac(connection)?),
            Sharing::Ipvlan(_) => None,
        };
        let shared = Shared { name: interface, parent, sharing, mtu, mac, netns };
        let added = links.add_shared(&shared).map_err(|error| refused(error, sharing));
        return added
            .and_then(|()| configure(target, connection).context(|| "cannot set it up"))
            .map_err(|error| {
                let parent = &bridge.interface;
                error.within(format!("cannot make interface `{interface}` on `{parent}`"))
            });
    }
    let veth = Veth {
        name: &name,
        bridge: port.index,
        mtu: bridge.mtu,
        peer_name: interface,
        peer_mac: mac(connection)?,
        peer_netns: target,
    };
    let mut added = links.add_veth(&veth);
    if added.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        // Left by the last run of this container: the kernel takes its time with the namespace.
        links.remove(&name).context(|| format!("cannot remove interface `{name}`"))?;
        added = links.add_veth(&veth);
    }
    added
        .and_then(|()| bridge.set_port(&mut links, &name))
        .context(|| format!("cannot make interface `{name}`"))?;
    configure(target, connection)
        .context(|| format!("cannot set up `{interface}` in the container"))
}

/// Says why an interface of this machine cannot be shared.
fn refused(error: io::Error, sharing: Sharing) -> Error {
    let driver = match sharing {
        Sharing::Macvlan(_) => "macvlan",
        Sharing::Ipvlan(_) => "ipvlan",
    };
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => {
            Error::new(Kind::Unsupported, format!("this kernel has no {driver}"))
                .hint(format!("load the module {driver}, or use a network of another driver"))
                .caused_by(error)
        }
        Some(libc::EBUSY | libc::EINVAL) => {
            Error::new(Kind::Conflict, "the interface is used in another way")
                .hint("it cannot be shared by macvlan and ipvlan, or in two modes, at once")
                .caused_by(error)
        }
        _ => Error::new(Kind::Internal, "the kernel refuses").caused_by(error),
    }
}

fn mac(connection: &Connection) -> Result<Mac> {
    let text = connection.mac.as_deref().unwrap_or_default();
    text.parse::<crate::spec::membership::Mac>().map(|mac| mac.0)
}

/// Returns the hardware address of who has these addresses, if nobody has asked for one: derived, not
/// drawn, where that can be.
pub(super) fn usual_mac(
    addresses: impl Iterator<Item = IpAddr>,
    id: &ContainerId,
    number: u8,
) -> Mac {
    let mut all = addresses.collect::<Vec<_>>();
    all.sort();
    match all.first() {
        Some(IpAddr::V4(address)) => mac_of(*address),
        Some(IpAddr::V6(address)) => {
            let [.., a, b, c, d] = address.octets();
            [0x06, 0xbb, a, b, c, d]
        }
        None => {
            let mut bytes = [0x06, 0xbc, 0, 0, 0, number];
            for (byte, digits) in bytes[2..5].iter_mut().zip(id.as_str().as_bytes().chunks(2)) {
                let text = std::str::from_utf8(digits).unwrap_or_default();
                *byte = u8::from_str_radix(text, 16).unwrap_or(0);
            }
            bytes
        }
    }
}

/// Gives an interface in the container the addresses and the routes that it is to have by now.
pub(super) fn set_up(target: BorrowedFd<'_>, connection: &Connection) -> Result<()> {
    let interface = connection.interface.as_deref().unwrap_or_default();
    configure(target, connection)
        .context(|| format!("cannot set up `{interface}` in the container"))
}

/// Takes the addresses of an interface in the container away, and with them its routes.
pub(super) fn strip(target: BorrowedFd<'_>, connection: &Connection) -> Result<()> {
    let interface = connection.interface.as_deref().unwrap_or_default();
    let stripped = Links::open_in(target).and_then(|mut links| {
        let link = links.find(interface)?.ok_or(io::ErrorKind::NotFound)?;
        let mut addresses = connection.addresses.iter();
        addresses.try_for_each(|address| links.remove_address(link.index, *address))
    });
    stripped.context(|| format!("cannot take the addresses of `{interface}` away"))
}

fn configure(target: BorrowedFd<'_>, connection: &Connection) -> io::Result<()> {
    let mut links = Links::open_in(target)?;
    links.set_loopback_up()?;
    let interface = connection.interface.as_deref().unwrap_or_default();
    let link = links.find(interface)?.ok_or(io::ErrorKind::NotFound)?;
    for address in &connection.addresses {
        links.add_address(link.index, *address)?;
    }
    take_up(&mut links, link.index)?;
    for gateway in &connection.gateways {
        links.add_default_route(link.index, *gateway)?;
    }
    connection.routes.iter().try_for_each(|route| links.add_route(link.index, route))
}

/// Takes an interface up. One that shares another is refused as long as the one of the container's last run
/// is there, which has the same hardware address: the kernel takes its time with the namespace.
fn take_up(links: &mut Links, index: u32) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        match links.set_up(index) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && begin.elapsed() < PATIENCE =>
            {
                thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

/// Settles what IPv6 does on interfaces that come into a namespace: nothing where their network has
/// none, since a neighbor could announce itself as their router; and where it has, no such
/// announcement counts, and an address is used at once. Loopback keeps `::1`.
fn prepare_ipv6(has_ipv6: bool, target: BorrowedFd<'_>) -> Result<()> {
    let settings: &[(&CStr, &[u8])] = match has_ipv6 {
        false => &[(c"/proc/sys/net/ipv6/conf/default/disable_ipv6", b"1")],
        true => &[
            (c"/proc/sys/net/ipv6/conf/default/disable_ipv6", b"0"),
            (c"/proc/sys/net/ipv6/conf/default/accept_ra", b"0"),
            (c"/proc/sys/net/ipv6/conf/default/accept_dad", b"0"),
        ],
    };
    for (path, value) in settings {
        let written = netns::setting_in(target, path)
            .and_then(|mut setting| io::Write::write_all(&mut setting, value));
        match written {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !has_ipv6 => {}
            other => other.context(|| "cannot settle IPv6 in the container")?,
        }
    }
    Ok(())
}

/// Disconnects a container from one network; one that is not connected is fine.
///
/// Its interface is only unplugged: to remove it takes tens of milliseconds. The kernel does that with the
/// namespace, in its own time; a namespace that others have joined lives on, and must not use an address
/// that is free again.
pub(super) fn disconnect(ground: &Ground, id: &ContainerId, number: u8) -> Result<()> {
    let name = host_interface(id, number);
    ground.links()?.unplug(&name).context(|| format!("cannot unplug interface `{name}`"))
}

/// Takes the interface of a container away that has ended, and whose namespace lives on.
pub(super) fn take_away(
    ground: &Ground,
    id: &ContainerId,
    connection: &Connection,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let name = host_interface(id, connection.number);
    // Whatever the container has called its end.
    ground.links()?.remove(&name).context(|| format!("cannot remove interface `{name}`"))?;
    remove(netns, connection)
}

/// Takes an interface of a container that goes on running away; one that is not there is fine.
pub(super) fn remove(target: BorrowedFd<'_>, connection: &Connection) -> Result<()> {
    let interface = connection.interface.as_deref().unwrap_or_default();
    Links::open_in(target)
        .and_then(|mut links| links.remove(interface))
        .context(|| format!("cannot remove interface `{interface}` of the container"))
}

/// Sends what has no better way out of a container by another network, where its connections say that
/// since they were as `before`.
pub(super) fn lead_out(
    target: BorrowedFd<'_>,
    before: &Endpoint,
    endpoint: &Endpoint,
) -> Result<()> {
    for ipv4 in [true, false] {
        let Some(connection) = endpoint.way_out(ipv4) else { continue };
        if before.way_out(ipv4).is_some_and(|it| it.network == connection.network) {
            continue;
        }
        let interface = connection.interface.as_deref().unwrap_or_default();
        let set = Links::open_in(target).and_then(|mut links| {
            let link = links.find(interface)?.ok_or(io::ErrorKind::NotFound)?;
            let mut gateways = connection.gateways.iter().filter(|it| it.is_ipv4() == ipv4);
            gateways.try_for_each(|gateway| links.set_default_route(link.index, *gateway))
        });
        set.context(|| format!("cannot send packets out by `{interface}`"))?;
    }
    Ok(())
}

/// Returns the name of a container's interface on the host.
pub(super) fn host_interface(id: &ContainerId, number: u8) -> String {
    let name = format!("veth{}", &id.as_str()[..10]);
    match char::from_digit(number.into(), MOST.into()) {
        Some(digit) if number > 0 => format!("{name}{digit}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_interfaces_within_the_limit() {
        let id = "0123456789abcdef".repeat(4).parse().unwrap();
        assert_eq!(host_interface(&id, 0), "veth0123456789");
        assert_eq!(host_interface(&id, 35), "veth0123456789z");
        assert!((0..MOST).all(|number| host_interface(&id, number).len() < libc::IFNAMSIZ));
    }

    #[test]
    fn derives_hardware_addresses() {
        let id = "0123456789abcdef".repeat(4).parse().unwrap();
        for (addresses, want) in [
            (&["fd00::9", "10.1.2.3"][..], [0x06, 0xba, 10, 1, 2, 3]),
            (&["fd00::9"], [0x06, 0xbb, 0, 0, 0, 9]),
            (&[], [0x06, 0xbc, 0x01, 0x23, 0x45, 7]),
        ] {
            let addresses = addresses.iter().map(|it| it.parse().unwrap());
            assert_eq!(usual_mac(addresses, &id, 7), want);
        }
    }
}
