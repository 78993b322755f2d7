//! Which addresses, names and sizes of packets networks get that nobody has decided.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::link::Links;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::spec::defaults::{NetworkDefaults, Pool};
use crate::spec::id::to_hex;
use crate::spec::network_spec::{Ipam, NetworkSpec, Subnet};

/// The store that most machines have only; its bridge has a short name.
const USUAL_RUNROOT: &str = "/run/barge";
/// The interface and the firewall table of that store.
pub(super) const USUAL_INTERFACE: &str = "barge0";
/// What an interface carries if there is no other to take after.
pub(super) const USUAL_MTU: u32 = 1500;
/// What any interface can carry.
pub(super) const LARGEST_MTU: u32 = 65535;

/// Returns what the way out carries, if that is not more than `most`: a container that sends more would
/// lose packets in tunnels.
pub(super) fn uplink_mtu(links: &mut Links, most: u32) -> io::Result<Option<u32>> {
    let Some(uplink) = links.uplink()? else { return Ok(None) };
    // Not more than usual: an interface with jumbo packets may lead to networks without.
    Ok(links.by_index(uplink.index)?.map(|link| link.mtu.min(most)))
}

/// Returns the gateway of the first network that overlaps none of those taken: of the pools that somebody
/// has named, or a private one. The default one is larger than others.
pub(super) fn free_network(
    taken: &[Cidr],
    pools: Option<&[Pool]>,
    is_default: bool,
) -> Option<Cidr> {
    let is_free = |network: &Cidr| !taken.iter().any(|other| other.overlaps(*network));
    if let Some(pools) = pools {
        let mut free = pools.iter().flat_map(|pool| pool.networks()).filter(is_free);
        return free.find_map(|it| Cidr::new(it.nth(1)?, it.prefix()));
    }
    let large = [([10, 88], 16)].into_iter().map(|([a, b], prefix)| (a, b, 0, prefix));
    let small = (89..=255)
        .map(|b| (10, b))
        .chain((18..=31).map(|b| (172, b)))
        .chain([(192, 168), (172, 16), (172, 17)])
        .chain((0..=87).map(|b| (10, b)))
        .flat_map(|(a, b)| (0..=255).map(move |c| (a, b, c, 24)));
    large
        .filter(|_| is_default)
        .chain(small)
        .filter_map(|(a, b, c, prefix)| Cidr::new(Ipv4Addr::new(a, b, c, 1), prefix))
        .find(is_free)
}

/// Returns what the default network has where nothing else has it.
pub(super) fn default_gateway(usual: &NetworkDefaults) -> Vec<Cidr> {
    let named = usual.subnet.and_then(|it| Cidr::new(it.nth(1)?, it.prefix()));
    named.or_else(|| free_network(&[], None, true)).into_iter().collect()
}

/// The error for want of addresses.
pub(super) fn no_network() -> Error {
    Error::new(Kind::Unavailable, "no private network is free for containers").hint(
        "all of 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16, or of default_subnet_pools in \
             containers.conf, is routed; see `ip route`",
    )
}

/// Completes what is asked for of a network: addresses that neither this machine nor one of the other
/// networks has, with their gateways: of those that are `usual`. `seed` is random.
///
/// Addresses that were asked for must not be those of another network; that this machine has a route
/// to them may be what the user wants.
pub fn complete(
    spec: &mut NetworkSpec,
    others: &[Cidr],
    usual: &NetworkDefaults,
    seed: [u8; 8],
) -> Result<()> {
    if spec.ipam != Ipam::HostLocal {
        let ipam = spec.ipam.as_str();
        if !spec.subnets.is_empty() {
            let text = format!("{ipam} ipam driver is set but subnets are given");
            return Err(Error::new(Kind::Invalid, text));
        }
        if spec.ipam == Ipam::Dhcp && !spec.is_of_others() {
            let driver = spec.driver.as_str();
            let text = format!("a network of driver {driver} has no addresses by dhcp");
            return Err(Error::new(Kind::Invalid, text)
                .hint("use driver macvlan or ipvlan, or a bridge of others: -o mode=unmanaged"));
        }
        return Ok(());
    }
    if spec.is_of_others() && spec.subnets.is_empty() {
        // It is somebody else's: nothing could be chosen that is right.
        let text = format!("a network of driver {} needs its subnet", spec.driver.as_str());
        return Err(Error::new(Kind::Invalid, text).hint(
            "name it by --subnet, or say who gives containers addresses: --ipam-driver dhcp or none",
        ));
    }
    let of_ipam = |key: &String| key == "ipam" || key.starts_with("ipam.");
    if spec.driver.plugin().is_some() && spec.options.keys().any(of_ipam) {
        // The plugin is told where to get addresses.
        return Ok(());
    }
    for Subnet { subnet, .. } in &spec.subnets {
        if others.iter().any(|other| other.overlaps(*subnet)) {
            return Err(Error::new(
                Kind::Conflict,
                format!("subnet {subnet} is already used on the host or by another config"),
            )
            .hint("choose another one, or none: then one that is free is found"));
        }
    }
    let has = |spec: &NetworkSpec, ipv4| {
        spec.subnets.iter().any(|it| it.subnet.address().is_ipv4() == ipv4)
    };
    let plain = |subnet: Cidr| Subnet { subnet: subnet.network(), gateway: None, range: None };
    if spec.subnets.is_empty() || !has(spec, true) && !spec.ipv6 {
        let mut taken = Links::open()
            .and_then(|mut links| links.networks())
            .context(|| "cannot list routes")?;
        taken.extend_from_slice(others);
        // The default network's, also while nobody is on it.
        taken.extend(default_gateway(usual));
        let free = free_network(&taken, usual.pools.as_deref(), false);
        spec.subnets.insert(0, plain(free.ok_or_else(no_network)?));
    }
    if spec.ipv6 && !has(spec, false) {
        spec.subnets.extend(unique_local(seed).map(plain));
    }
    for subnet in &mut spec.subnets {
        // An internal network has no gateway, but this machine's address there.
        if subnet.gateway.is_none() {
            subnet.gateway = subnet.subnet.nth(1);
        }
        let (first, last) = subnet.subnet.range();
        let gateway = subnet.gateway.unwrap_or(first);
        if gateway == first || gateway.is_ipv4() && gateway == last {
            let text = format!("{gateway} cannot be the gateway of {}", subnet.subnet);
            return Err(Error::new(Kind::Invalid, text).hint("choose an address in between"));
        }
    }
    let is_near = |address| spec.subnets.iter().any(|it| it.subnet.contains(address));
    match spec.routes.iter().find(|route| !is_near(route.gateway)) {
        None => Ok(()),
        Some(route) => {
            let text =
                format!("gateway {} of a route is in no subnet of the network", route.gateway);
            Err(Error::new(Kind::Invalid, text).hint("a router is one of those on the network"))
        }
    }
}

/// Makes an IPv6 network of nobody else's, by RFC 4193.
fn unique_local(seed: [u8; 8]) -> Option<Cidr> {
    let [a, b, c, d, e, f, g, _] = seed;
    let half = |high, low| u16::from_be_bytes([high, low]);
    let address = Ipv6Addr::new(half(0xfd, a), half(b, c), half(d, e), half(f, g), 0, 0, 0, 0);
    Cidr::new(address, 64)
}

/// Returns the addresses that are leased to containers: not the first one, nor that for broadcasts.
pub(super) fn host_range(subnet: Cidr) -> (IpAddr, IpAddr) {
    let (first, last) = subnet.range();
    let second = subnet.nth(1).unwrap_or(first);
    let last = match last {
        IpAddr::V4(last) => IpAddr::V4(u32::from(last).saturating_sub(1).into()),
        last @ IpAddr::V6(_) => last,
    };
    (second, last)
}

/// Returns the name of a store's default bridge and of its firewall table: no two stores share one.
pub(super) fn interface_name(runroot: &Path) -> String {
    if runroot == Path::new(USUAL_RUNROOT) {
        return USUAL_INTERFACE.to_owned();
    }
    let hash = Sha256::digest(runroot.as_os_str().as_encoded_bytes());
    format!("barge-{}", to_hex(&hash[..4]))
}

/// Returns the name of the bridge of a network that a user makes: no two networks share one.
pub fn interface_of(id: &str) -> String {
    format!("barge-{}", &id[..id.len().min(9)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn chooses_a_network_that_nobody_uses() {
        for (taken, want, other) in [
            (&[][..], Some("10.88.0.1/16"), Some("10.89.0.1/24")),
            (&["192.168.1.0/24", "10.87.0.0/16"], Some("10.88.0.1/16"), Some("10.89.0.1/24")),
            (&["10.88.7.0/24"], Some("10.89.0.1/24"), Some("10.89.0.1/24")),
            (&["10.88.0.1/32", "10.89.0.0/16"], Some("10.90.0.1/24"), Some("10.90.0.1/24")),
            (&["10.0.0.0/8"], Some("172.18.0.1/24"), Some("172.18.0.1/24")),
            (&["10.0.0.0/8", "172.16.0.0/12"], Some("192.168.0.1/24"), Some("192.168.0.1/24")),
            (&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], None, None),
        ] {
            for (is_default, want) in [(true, want), (false, other)] {
                let got = free_network(&cidrs(taken), None, is_default).map(|it| it.to_string());
                assert_eq!(got.as_deref(), want, "{taken:?}");
            }
        }
    }

    #[test]
    fn completes_what_is_asked_for() {
        for (subnets, ipv6, others, want) in [
            (&["10.1.0.0/24"][..], false, &[][..], Some("10.1.0.0/24 10.1.0.1")),
            (&["10.1.0.0/24"], false, &["10.1.0.0/16"], None),
            (
                &["10.1.0.0/24"],
                true,
                &[],
                Some("10.1.0.0/24 10.1.0.1, fd01:203:405:607::/64 fd01:203:405:607::1"),
            ),
            (&["fd00:5::/64"], true, &["10.1.0.0/16"], Some("fd00:5::/64 fd00:5::1")),
            (&["fd00:5::/64"], true, &["fd00:5::/80"], None),
        ] {
            let mut spec = NetworkSpec { ipv6, ..NetworkSpec::default() };
            spec.add_subnets(&cidrs(subnets), &[], &[]).unwrap();
            let usual = NetworkDefaults::default();
            let done = complete(&mut spec, &cidrs(others), &usual, [1, 2, 3, 4, 5, 6, 7, 8]);
            let show = |it: &Subnet| format!("{} {}", it.subnet, it.gateway.unwrap());
            let got =
                done.ok().map(|()| spec.subnets.iter().map(show).collect::<Vec<_>>().join(", "));
            assert_eq!(got.as_deref(), want, "{subnets:?} {others:?}");
        }
    }

    #[test]
    fn names_interfaces_within_the_limit() {
        assert_eq!(interface_name(Path::new(USUAL_RUNROOT)), "barge0");
        let other = interface_name(Path::new("/tmp/another"));
        assert!(other.starts_with("barge-") && other.len() < libc::IFNAMSIZ, "{other}");
        assert_ne!(other, interface_name(Path::new("/tmp/yet/another")));
        assert!(interface_of(&"f".repeat(64)).len() < libc::IFNAMSIZ);
    }

    #[test]
    fn leaves_out_what_stands_for_the_network_and_broadcasts() {
        for (subnet, want) in [
            ("10.1.2.0/24", "10.1.2.1-10.1.2.254"),
            ("10.1.2.4/30", "10.1.2.5-10.1.2.6"),
            ("fd00::/126", "fd00::1-fd00::3"),
        ] {
            let (first, last) = host_range(subnet.parse().unwrap());
            assert_eq!(format!("{first}-{last}"), want);
        }
    }
}
