//! What a container finds in `/etc/resolv.conf` and `/etc/hosts`.
//!
//! Pure, but for [`host_resolv_conf`] and [`host_hosts`], which read this machine's own files.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use super::{Endpoint, HOST_GATEWAY};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::network::{HostAddress, HostsBase, NameResolution};

/// Where this machine's name servers are listed.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd's own resolver, which only this machine can reach, lists those that it asks.
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";
/// Whom to ask if this machine's name servers are in reach of nobody else; the choice of Docker.
const PUBLIC_SERVERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4))];
/// The beginning of `/etc/hosts`.
const LOCAL_HOSTS: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// The names by which programs look for the machine that they run on: Podman's and Docker's.
const HOST_NAMES: [&str; 2] = ["host.containers.internal", "host.docker.internal"];

/// What a file of name servers says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Resolver<'a> {
    servers: Vec<&'a str>,
    search: Vec<&'a str>,
    options: Vec<&'a str>,
}

impl<'a> Resolver<'a> {
    fn parse(text: &'a str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => resolver.servers.extend(words.next()),
                // The last one counts, by either name.
                Some("search" | "domain") => resolver.search = words.collect(),
                Some("options") => resolver.options.extend(words),
                _ => {}
            }
        }
        resolver
    }

    /// Returns the servers that an IPv4 network with a way out reaches.
    ///
    /// One that cannot be reached costs five seconds at each query.
    fn in_reach(&self) -> Vec<IpAddr> {
        let addresses = self.servers.iter().filter_map(|text| text.parse::<Ipv4Addr>().ok());
        let others = addresses.filter(|address| !address.is_loopback());
        others.filter(|address| !address.is_unspecified()).map(IpAddr::V4).collect()
    }
}

/// Reads this machine's name servers for a container; empty if it has none.
///
/// What comes of it for the container is decided by [`resolv_conf`].
pub fn host_resolv_conf(endpoint: &Endpoint) -> Result<String> {
    let text = read(RESOLV_CONF)?;
    if shares_host(endpoint) || !Resolver::parse(&text).in_reach().is_empty() {
        return Ok(text);
    }
    let resolved = read(RESOLVED_CONF)?;
    if Resolver::parse(&resolved).in_reach().is_empty() { Ok(text) } else { Ok(resolved) }
}

/// Reads this machine's `/etc/hosts` for a container that shares its network; others have no use
/// for it.
pub fn host_hosts(endpoint: &Endpoint) -> Result<String> {
    if shares_host(endpoint) { read("/etc/hosts") } else { Ok(String::new()) }
}

fn read(path: &str) -> Result<String> {
    match fs::read(path) {
        Ok(data) => Ok(String::from_utf8_lossy(&data).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).context(|| format!("cannot read {path}")),
    }
}

/// Returns the name servers that a file lists, but for those that only some interface reaches.
pub(super) fn servers_in(text: &str) -> Vec<IpAddr> {
    Resolver::parse(text).servers.iter().filter_map(|server| server.parse().ok()).collect()
}

fn shares_host(endpoint: &Endpoint) -> bool {
    endpoint.network() == "host"
}

/// Writes a container's `/etc/resolv.conf`, given this machine's.
pub fn resolv_conf(host_text: &str, names: &NameResolution, endpoint: &Endpoint) -> String {
    let asked = names.servers.len() + names.search.len() + names.options.len() > 0;
    if shares_host(endpoint) && !asked {
        return host_text.to_owned();
    }
    let host = Resolver::parse(host_text);
    let texts = |addresses: Vec<IpAddr>| addresses.iter().map(IpAddr::to_string).collect();
    let servers: Vec<String> = if endpoint.resolver {
        // It asks those that were named.
        vec![super::dns::ADDRESS.to_string()]
    } else if !names.servers.is_empty() {
        texts(names.servers.clone())
    } else if shares_host(endpoint) {
        host.servers.iter().map(|&server| server.to_owned()).collect()
    } else if let Some(server) = endpoint.name_server {
        vec![server.to_string()]
    } else if endpoint.network() == "none" {
        // Nobody is in reach, and nobody is to be waited for.
        Vec::new()
    } else {
        let found = host.in_reach();
        texts(if found.is_empty() { PUBLIC_SERVERS.to_vec() } else { found })
    };
    let mut text = String::new();
    for server in servers {
        text += &format!("nameserver {server}\n");
    }
    let or_host = |own: &[String], host: &[&str]| {
        if own.is_empty() { host.join(" ") } else { own.join(" ") }
    };
    // A single dot stands for none at all.
    let search = or_host(&names.search, &host.search);
    if !search.is_empty() && search != "." {
        text += &format!("search {search}\n");
    }
    let mut options = or_host(&names.options, &host.options);
    if endpoint.resolver && !options.contains("ndots:") {
        // A name without dots is a container's, before it is one of some domain.
        options = format!("{options} ndots:0").trim_start().to_owned();
    }
    if !options.is_empty() {
        text += &format!("options {options}\n");
    }
    text
}

/// Writes a container's `/etc/hosts`, given this machine's (see [`host_hosts`]).
pub fn hosts_file(
    host_text: &str,
    names: &NameResolution,
    endpoint: &Endpoint,
    hostname: &str,
    name: &str,
) -> Result<String> {
    let mut text = if shares_host(endpoint) {
        host_text.to_owned()
    } else if names.base == HostsBase::Usual {
        LOCAL_HOSTS.to_owned()
    } else {
        host_text.to_owned()
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    // Who gives one of these names an address of its own means that one.
    let own = |name| names.hosts.iter().any(|(hosts, _)| hosts.split(';').any(|it| it == name));
    let host_names: Vec<_> = HOST_NAMES.into_iter().filter(|name| !own(*name)).collect();
    if let (Some(host), false) = (shown_host(names, endpoint), host_names.is_empty()) {
        text += &format!("{host}\t{}\n", host_names.join(" "));
    }
    for (host, address) in &names.hosts {
        let address = host_address(address, names, endpoint)?;
        // Several names of one address, as Podman takes them.
        let aliases: Vec<_> = host.split(';').collect();
        if aliases.iter().any(|alias| alias.is_empty() || alias.contains(char::is_whitespace)) {
            return Err(Error::new(Kind::Invalid, format!("invalid host name `{host}`")));
        }
        text += &format!("{address}\t{}\n", aliases.join(" "));
    }
    if !shares_host(endpoint) {
        let own = own_names(hostname, name);
        for address in own_addresses(endpoint) {
            text += &format!("{address}\t{own}\n");
        }
        for (address, names) in endpoint.linked() {
            text += &format!("{address}\t{names}\n");
        }
    }
    Ok(text)
}

/// Returns the addresses that a container knows itself by. A program that looks for its own host name must
/// find something.
fn own_addresses(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
    let nowhere = endpoint.addresses().next().is_none();
    let loopback = nowhere.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    endpoint.addresses().chain(loopback)
}

/// Returns the names of a container in its own file, its host name first.
fn own_names(hostname: &str, name: &str) -> String {
    let mut own = vec![hostname];
    own.extend(hostname.split_once('.').map(|(short, _)| short));
    own.push(name);
    let mut known = Vec::new();
    own.retain(|name| {
        let new = !name.is_empty() && !known.contains(name);
        known.push(*name);
        new
    });
    own.join(" ")
}

/// Returns what a container's `/etc/hosts` says once its addresses are others: lines of those that are
/// gone go, those of new ones come. All else in it may be the container's own.
pub fn changed_hosts(
    text: &str,
    before: &Endpoint,
    now: &Endpoint,
    hostname: &str,
    name: &str,
) -> String {
    let own = own_names(hostname, name);
    let lines = |of: &Endpoint| -> Vec<(IpAddr, String)> {
        let addresses = own_addresses(of).map(|address| (address, own.clone()));
        addresses.chain(of.linked().cloned()).collect()
    };
    let (before, now) = (lines(before), lines(now));
    let gone = before.iter().filter(|line| !now.contains(line));
    let new: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
    // Whatever names it had then; but others have the loopback address, too.
    let gone: Vec<String> = gone
        .map(|(address, names)| match address.is_loopback() {
            true => format!("{address}\t{names}\n"),
            false => format!("{address}\t"),
        })
        .collect();
    let is_of = |line: &str| gone.iter().any(|it| line.starts_with(it));
    let kept = text.split_inclusive('\n').filter(|line| !is_of(line));
    let mut text: String = kept.collect();
    if !new.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.extend(new.iter().map(|(address, names)| format!("{address}\t{names}\n")));
    text
}

/// Returns the address under which the host is known by name.
fn shown_host(names: &NameResolution, endpoint: &Endpoint) -> Option<IpAddr> {
    match names.host {
        HostAddress::Usual => endpoint.host,
        HostAddress::None => None,
        HostAddress::Address(address) => Some(address),
    }
}

fn host_address(text: &str, names: &NameResolution, endpoint: &Endpoint) -> Result<IpAddr> {
    if text != HOST_GATEWAY {
        let brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        return brackets.unwrap_or(text).parse().map_err(|_| {
            Error::new(Kind::Invalid, format!("invalid address `{text}` of a host name"))
                .hint("write NAME:ADDRESS, as in db:10.0.0.5, or NAME:host-gateway")
        });
    }
    if let HostAddress::Address(address) = names.host {
        return Ok(address);
    }
    let own = shares_host(endpoint).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    endpoint.host.or(own).ok_or_else(|| {
        let network = endpoint.network();
        Error::new(Kind::Invalid, format!("network `{network}` has no address of the host"))
            .hint("leave out `host-gateway`, or choose another network")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Connection;

    fn endpoint(network: &str) -> Endpoint {
        let on = |addresses: &[&str]| {
            vec![Connection {
                network: network.to_owned(),
                addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
                ..Connection::default()
            }]
        };
        match network {
            "podman" => Endpoint {
                connections: on(&["10.88.0.2/16"]),
                host: Some("10.88.0.1".parse().unwrap()),
                ..Endpoint::default()
            },
            "names" => Endpoint {
                connections: on(&["10.89.0.2/24"]),
                resolver: true,
                ..Endpoint::default()
            },
            "pasta" => Endpoint {
                connections: on(&["192.0.2.2/24"]),
                name_server: Some("169.254.1.1".parse().unwrap()),
                ..Endpoint::default()
            },
            _ => Endpoint { connections: on(&[]), ..Endpoint::default() },
        }
    }

    #[test]
    fn writes_name_servers() {
        let plain =
            "# comment\nnameserver 192.0.2.53\nsearch a.example b.example\noptions ndots:2\n";
        let local = "nameserver 127.0.0.53\nnameserver fe80::1%eth0\ndomain a.example\n";
        let none = NameResolution::default();
        let own = NameResolution {
            servers: vec!["192.0.2.1".parse().unwrap()],
            search: vec![".".to_owned()],
            options: vec!["timeout:1".to_owned()],
            ..none.clone()
        };
        let plain_copy = "nameserver 192.0.2.53\nsearch a.example b.example\noptions ndots:2\n";
        let replaced = "nameserver 192.0.2.1\noptions timeout:1\n";
        for (network, host, names, want) in [
            ("host", plain, &none, plain),
            ("host", local, &none, local),
            ("host", plain, &own, replaced),
            ("podman", plain, &none, plain_copy),
            ("podman", plain, &own, replaced),
            ("podman", local, &none, "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch a.example\n"),
            (
                "names",
                plain,
                &none,
                "nameserver 127.0.0.11\nsearch a.example b.example\noptions ndots:2\n",
            ),
            ("names", local, &own, "nameserver 127.0.0.11\noptions timeout:1 ndots:0\n"),
            ("pasta", local, &none, "nameserver 169.254.1.1\nsearch a.example\n"),
            ("pasta", plain, &own, replaced),
            ("none", local, &none, "search a.example\n"),
        ] {
            assert_eq!(resolv_conf(host, names, &endpoint(network)), want, "{network} {host}");
        }
    }

    #[test]
    fn writes_hosts() {
        let names = NameResolution {
            hosts: vec![
                ("db;database".to_owned(), "10.0.0.5".to_owned()),
                ("up".to_owned(), "host-gateway".to_owned()),
            ],
            ..NameResolution::default()
        };
        let write = |network, names: &NameResolution| {
            hosts_file("10.0.0.9\tbox", names, &endpoint(network), "web.example", "web")
                .map(|text| text.replace(LOCAL_HOSTS, "LOCAL\n"))
        };
        assert_eq!(
            write("podman", &names).unwrap(),
            "LOCAL\n10.88.0.1\thost.containers.internal host.docker.internal\n10.0.0.5\tdb database\n10.88.0.1\tup\n10.88.0.2\tweb.example web\n"
        );
        assert_eq!(
            write("host", &names).unwrap(),
            "10.0.0.9\tbox\n10.0.0.5\tdb database\n127.0.0.1\tup\n"
        );
        let none = NameResolution::default();
        assert_eq!(write("none", &none).unwrap(), "LOCAL\n127.0.0.1\tweb.example web\n");
        assert_eq!(write("none", &names).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn follows_addresses_that_come_and_go() {
        let on = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
            Endpoint {
                connections: vec![Connection { addresses, ..Connection::default() }],
                ..Endpoint::default()
            }
        };
        let text = "127.0.0.1\tlocalhost\n10.1.0.2\tbox web\n10.1.0.22\tdb";
        for (before, now, want) in [
            (&["10.1.0.2/24"][..], &["10.1.0.2/24"][..], text.to_owned()),
            (
                &["10.1.0.2/24"],
                &["10.1.0.2/24", "10.2.0.2/24", "fd00::2/64"],
                format!("{text}\n10.2.0.2\tbox web\nfd00::2\tbox web\n"),
            ),
            (
                &["10.1.0.2/24"],
                &[],
                "127.0.0.1\tlocalhost\n10.1.0.22\tdb\n127.0.0.1\tbox web\n".to_owned(),
            ),
        ] {
            assert_eq!(changed_hosts(text, &on(before), &on(now), "box", "web"), want);
        }
    }

    #[test]
    fn refuses_lines_that_would_say_more() {
        for (host, address) in
            [("a\nb", "10.0.0.1"), ("", "10.0.0.1"), ("a", "10.0.0"), ("a;", "::1")]
        {
            let names = NameResolution {
                hosts: vec![(host.to_owned(), address.to_owned())],
                ..NameResolution::default()
            };
            let error = hosts_file("", &names, &endpoint("podman"), "h", "n").unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{host} {address}");
        }
    }
}
