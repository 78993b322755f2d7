//! What network a container is on, and the ports that it publishes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::membership::{DEFAULT_ALIAS, DEFAULT_NETWORK, Link, Mac, Membership};
use super::user_mode::{PastaOptions, SlirpOptions};
use crate::error::{Context, Error, Kind, Result};

/// The network that a container is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// What is usual here: the default bridge as root, pasta without root.
    #[default]
    Default,
    /// A namespace of its own with nothing but loopback.
    None,
    /// The host's own network.
    Host,
    /// Networks that have names, at least one: the default one, or such as users have made.
    Networks(Vec<Membership>),
    /// The user-mode network stack pasta (rootless only).
    Pasta(PastaOptions),
    /// The user-mode network stack slirp4netns.
    Slirp4netns(SlirpOptions),
    /// The network namespace of another container, by name or ID.
    Container(String),
    /// An existing network namespace.
    Ns(PathBuf),
}

impl NetworkMode {
    /// Tells whether the container gets a network namespace of its own.
    pub fn is_own(&self) -> bool {
        !matches!(self, Self::Host | Self::Container(_) | Self::Ns(_))
    }

    /// Puts together what `--network` says, given several times.
    pub fn together(modes: Vec<Self>) -> Result<Self> {
        let mut modes = modes.into_iter();
        let mut all = modes.next().unwrap_or_default();
        for mode in modes {
            match (&mut all, mode) {
                (Self::Networks(members), Self::Networks(more)) => members.extend(more),
                (one, mode) => {
                    let other = if matches!(one, Self::Networks(_)) { mode } else { one.clone() };
                    return Err(Error::new(
                        Kind::Invalid,
                        format!(
                            "cannot set multiple networks without bridge network mode, selected mode {other}: invalid argument"
                        ),
                    ));
                }
            }
        }
        Ok(all)
    }

    /// Adds what the flags say that are about one network, or about all of them.
    pub fn asking(self, asked: &Asked) -> Result<Self> {
        if *asked == Asked::default() {
            return Ok(self);
        }
        let mut members = match self {
            Self::Networks(members) => members,
            Self::Default => vec![Membership::of(DEFAULT_NETWORK)],
            other => {
                let text = format!(
                    "an address, alias or link cannot be set for network mode {other}: invalid argument"
                );
                return Err(Error::new(Kind::Invalid, text)
                    .hint("name a network that was made by `barge network create`"));
            }
        };
        let is_one = asked.ipv4.is_some() || asked.ipv6.is_some() || asked.mac.is_some();
        if is_one && members.len() > 1 {
            let text = "--ip, --ip6 and --mac-address can only be set for a single network";
            return Err(Error::new(Kind::Invalid, format!("{text}: invalid argument"))
                .hint("write them behind each network, as in --network net1:ip=10.89.0.5"));
        }
        for member in &mut members {
            member.ipv4 = asked.ipv4.or(member.ipv4);
            member.ipv6 = asked.ipv6.or(member.ipv6);
            member.mac = asked.mac.or(member.mac);
            member.aliases.extend(asked.aliases.iter().cloned());
            member.links.extend(asked.links.iter().cloned());
        }
        Ok(Self::Networks(members))
    }

    /// Returns how the container is on networks that have names.
    pub fn memberships(&self) -> &[Membership] {
        match self {
            Self::Networks(members) => members,
            _ => &[],
        }
    }
}

/// What is asked for of a container's networks, without naming them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// Names by which others know the container.
    pub aliases: Vec<String>,
    /// Others by names that only the container knows.
    pub links: Vec<Link>,
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One published port (or a range of them), as in `127.0.0.1:8080-8081:80-81/udp`; or one that has a range of
/// the host's to choose from, as in `8080-8090:80`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Address on the host; `None` is all of them.
    pub host_ip: Option<IpAddr>,
    /// First port on the host; `None` lets the tool choose a free one.
    pub host_port: Option<u16>,
    /// First port in the container.
    pub container_port: u16,
    /// How many ports, from the first ones on; at least 1.
    pub count: u16,
    /// How many ports of the host, from the first one on, a single port may be published at; at least 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub choices: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

fn one() -> u16 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_one(number: &u16) -> bool {
    *number == 1
}

impl PortMapping {
    /// Tells whether it leaves to us which port of the host it is.
    pub fn leaves_choice(&self) -> bool {
        self.host_port.is_none() || self.choices > 1
    }
}

/// Names and name servers that a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NameResolution {
    /// Name servers; empty takes the host's.
    pub servers: Vec<IpAddr>,
    /// Search domains; empty takes the host's.
    pub search: Vec<String>,
    /// Resolver options, as in `ndots:2`.
    pub options: Vec<String>,
    /// Lines for /etc/hosts: names with semicolons between them, and an address, which may be the word
    /// `host-gateway`.
    pub hosts: Vec<(String, String)>,
    /// What /etc/hosts begins with.
    pub base: HostsBase,
    /// The host's address for its names, as `host.containers.internal`.
    pub host: HostAddress,
    /// Whether the image's /etc/hosts stays.
    pub no_hosts: bool,
    /// Whether the image's /etc/hostname stays.
    pub no_hostname: bool,
    /// Whether the image's /etc/resolv.conf stays.
    pub no_resolver: bool,
}

impl NameResolution {
    /// Tells whether none of the image's files stays.
    pub fn has_all_files(&self) -> bool {
        !(self.no_hosts || self.no_hostname || self.no_resolver)
    }

    /// Returns each name of [`hosts`](Self::hosts) with its address, as Docker writes them: `NAME:ADDRESS`.
    pub fn host_entries(&self) -> impl Iterator<Item = String> {
        let each = |(names, address): &(String, String)| -> Vec<String> {
            names.split(';').map(|name| format!("{name}:{address}")).collect()
        };
        self.hosts.iter().flat_map(each)
    }
}

/// What a container's /etc/hosts begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostsBase {
    /// Lines for the loopback addresses; on the host's own network, the host's file.
    #[default]
    Usual,
    /// The image's file.
    Image,
    /// Nothing.
    None,
    /// This file of the host.
    File(PathBuf),
}

/// The address under which a container knows the host by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostAddress {
    /// What its network says.
    #[default]
    Usual,
    /// None: the host has no name.
    None,
    /// This one.
    Address(IpAddr),
}

impl FromStr for HostAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" => Ok(Self::Usual),
            "none" => Ok(Self::None),
            _ => text.parse().map(Self::Address).map_err(|_| {
                Error::new(Kind::Invalid, format!("`{text}` is not an ip address"))
                    .hint("write an address, or none")
            }),
        }
    }
}

impl FromStr for HostsBase {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "" => Self::Usual,
            "image" => Self::Image,
            "none" => Self::None,
            path => Self::File(PathBuf::from(path)),
        })
    }
}

/// Parses `--dns`: an address, or `none`.
pub fn parse_server(text: &str) -> Result<Option<IpAddr>> {
    if text == "none" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Error::new(Kind::Invalid, format!("{text} is not an ip address"))
            .hint("write the address of a name server, or none")
    })
}

impl FromStr for NetworkMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (word, rest) = match text.split_once(':') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        match (word, rest) {
            ("default" | "private", None) => Ok(Self::Default),
            ("none", None) => Ok(Self::None),
            ("host", None) => Ok(Self::Host),
            ("pasta", None) => Ok(Self::Pasta(PastaOptions::default())),
            ("pasta", Some(options)) => options.parse().map(Self::Pasta),
            ("slirp4netns", None) => Ok(Self::Slirp4netns(SlirpOptions::default())),
            ("slirp4netns", Some(options)) => options.parse().map(Self::Slirp4netns),
            ("container", Some(other)) if !other.is_empty() => {
                Ok(Self::Container(other.to_owned()))
            }
            ("ns", Some(path)) if path.starts_with('/') => Ok(Self::Ns(PathBuf::from(path))),
            ("container" | "ns" | "host" | "none" | "default" | "private", Some(_)) => {
                Err(Error::new(Kind::Invalid, format!("invalid network mode `{text}`"))
                    .hint("use bridge, pasta, host, none, container:NAME or ns:PATH"))
            }
            _ => match text.parse::<Membership>() {
                Ok(member) => Ok(Self::Networks(vec![member])),
                Err(error) => Err(error.within(format!("invalid network `{text}`"))),
            },
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Networks(members) => match members.first() {
                // What Docker and Podman call that mode.
                Some(member) if member.network == DEFAULT_NETWORK => f.write_str(DEFAULT_ALIAS),
                Some(member) => f.write_str(&member.network),
                None => f.write_str("none"),
            },
            Self::Pasta(_) => f.write_str("pasta"),
            Self::Slirp4netns(_) => f.write_str("slirp4netns"),
            Self::Container(name) => write!(f, "container:{name}"),
            Self::Ns(path) => write!(f, "ns:{}", path.display()),
        }
    }
}

impl Protocol {
    /// Returns its name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(Error::new(Kind::Invalid, format!("invalid protocol `{text}`"))
                .hint("use tcp, udp or sctp")),
        }
    }
}

impl FromStr for PortMapping {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(Kind::Invalid, format!("invalid port mapping `{text}`: {why}")).hint(
                "write [[IP:][HOST]:]CONTAINER[/PROTOCOL], as in 8080:80 or 127.0.0.1:53:53/udp",
            )
        };
        let (ports, protocol) = match text.split_once('/') {
            Some((ports, protocol)) => {
                let protocol: Result<Protocol> = protocol.parse();
                (ports, protocol.context(|| format!("invalid port mapping `{text}`"))?)
            }
            None => (text, Protocol::Tcp),
        };
        let (left, container) = match ports.rsplit_once(':') {
            Some((left, container)) => (Some(left), container),
            None => (None, ports),
        };
        let (address, host) = match left {
            None => (None, ""),
            Some(left) => match left.rsplit_once(':') {
                // The last colon of a bracketed address belongs to the address.
                Some((address, host)) if !host.ends_with(']') => (Some(address), host),
                Some(_) => return Err(invalid("there is no host port after the address")),
                None => (None, left),
            },
        };
        let host_ip = match address {
            None | Some("") => None,
            Some(address) => Some(parse_address(address).ok_or_else(|| {
                invalid(&format!("`{address}` is not an IP address (brackets enclose an IPv6 one)"))
            })?),
        };
        let (container_port, count) =
            parse_range(container).filter(|(first, _)| *first != 0).ok_or_else(|| {
                invalid("the container port must be a number from 1 to 65535, or a range")
            })?;
        let (host_port, choices) = match host {
            "" | "0" => (None, 1),
            host => {
                let (first, hosts) = parse_range(host).ok_or_else(|| {
                    invalid("the host port must be a number from 1 to 65535, or a range")
                })?;
                if hosts != count && count > 1 || first == 0 {
                    return Err(invalid(&format!(
                        "host and container port ranges have different lengths: {hosts} vs {count}"
                    )));
                }
                (Some(first), if count == 1 { hosts } else { 1 })
            }
        };
        Ok(Self { host_ip, host_port, container_port, count, choices, protocol })
    }
}

fn parse_address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

/// Reads `80` or `80-90` as the first port and how many.
fn parse_range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok())?
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    Some((first, last.checked_sub(first)?.checked_add(1)?))
}

impl fmt::Display for PortMapping {
    /// Writes the mapping as it can be parsed again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |first: u16, count: u16| match count {
            1 => first.to_string(),
            count => format!("{first}-{}", first.saturating_add(count - 1)),
        };
        match self.host_ip {
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            None => {}
        }
        match self.host_port {
            Some(port) => write!(f, "{}:", range(port, self.count.max(self.choices)))?,
            None if self.host_ip.is_some() => f.write_str(":")?,
            None => {}
        }
        write!(f, "{}/{}", range(self.container_port, self.count), self.protocol)
    }
}

/// Parses `--expose`: `80`, `80/udp` or `80-90/tcp`, into one `PORT/PROTOCOL` each.
pub fn parse_exposed(text: &str) -> Result<Vec<String>> {
    let (ports, protocol) = match text.split_once('/') {
        Some((ports, protocol)) => (ports, protocol.parse()?),
        None => (text, Protocol::Tcp),
    };
    match parse_range(ports) {
        Some((first, count)) if first != 0 => {
            Ok((0..count).map(|index| format!("{}/{protocol}", first + index)).collect())
        }
        _ => Err(Error::new(Kind::Invalid, format!("invalid port `{text}` to expose"))
            .hint("write PORT[/PROTOCOL], as in 80 or 53/udp")),
    }
}

/// Parses `--add-host`: `NAME[;NAME…]:ADDRESS`, where the address may be the word `host-gateway`.
/// Several names stay together: they get one line.
pub fn parse_host(text: &str) -> Result<(String, String)> {
    let invalid = || {
        Error::new(Kind::Invalid, format!("invalid host entry `{text}`"))
            .hint("write NAME:IP, as in db:10.0.0.5, or NAME:host-gateway")
    };
    // Docker also takes `=` in place of the colon.
    let end = text.find([':', '=']).ok_or_else(invalid)?;
    let (names, address) = (&text[..end], &text[end + 1..]);
    let inner =
        address.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(address);
    if inner != "host-gateway" && inner.parse::<IpAddr>().is_err() {
        return Err(invalid());
    }
    let is_good =
        |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '#');
    if !names.split(';').all(is_good) {
        return Err(invalid());
    }
    Ok((names.to_owned(), inner.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_ports() {
        for (text, want) in [
            ("80", Some("80/tcp")),
            ("80/udp", Some("80/udp")),
            ("80/UDP", Some("80/udp")),
            ("8080:80", Some("8080:80/tcp")),
            ("0:80", Some("80/tcp")),
            (":80", Some("80/tcp")),
            ("127.0.0.1:8080:80/udp", Some("127.0.0.1:8080:80/udp")),
            ("127.0.0.1::80", Some("127.0.0.1::80/tcp")),
            ("127.0.0.1:0:80", Some("127.0.0.1::80/tcp")),
            ("[::1]:8080:80/sctp", Some("[::1]:8080:80/sctp")),
            ("[::]::80", Some("[::]::80/tcp")),
            ("8000-8010:80-90", Some("8000-8010:80-90/tcp")),
            ("80-81", Some("80-81/tcp")),
            ("1-65535:1-65535", Some("1-65535:1-65535/tcp")),
            ("", None),
            (":", None),
            ("x:80", None),
            ("8080:", None),
            ("80:0", None),
            ("70000:80", None),
            ("+80", None),
            ("127.0.0.1:80", None),
            ("[::1]:80", None),
            ("::1:8080:80", None),
            ("[127.0.0.1]:1:2", None),
            ("8000-8010:80", Some("8000-8010:80/tcp")),
            ("127.0.0.1:8000-8001:80/udp", Some("127.0.0.1:8000-8001:80/udp")),
            ("8000-8010:80-81", None),
            ("8000:80-81", None),
            ("90-80", None),
            ("0-65535", None),
            ("0-1:80-81", None),
            ("0-1:80", None),
            ("80/icmp", None),
            ("80/", None),
            ("1:2:3:4", None),
        ] {
            let got = text.parse::<PortMapping>();
            assert_eq!(got.as_ref().ok().map(PortMapping::to_string).as_deref(), want, "{text}");
            if let Ok(mapping) = got {
                assert_eq!(mapping.to_string().parse::<PortMapping>().unwrap(), mapping, "{text}");
            }
        }
    }

    #[test]
    fn parses_network_modes() {
        for (text, want) in [
            ("bridge", Some("bridge")),
            ("podman", Some("bridge")),
            ("host", Some("host")),
            ("none", Some("none")),
            ("pasta", Some("pasta")),
            ("private", Some("default")),
            ("backend", Some("backend")),
            ("container:web", Some("container:web")),
            ("ns:/run/netns/x", Some("ns:/run/netns/x")),
            ("container:", None),
            ("ns:relative", None),
            ("pasta:-T,5201", Some("pasta")),
            ("pasta:", None),
            ("slirp4netns", Some("slirp4netns")),
            ("slirp4netns:mtu=1400", Some("slirp4netns")),
            ("slirp4netns:x", None),
            ("", None),
            ("host:x", None),
            ("a/b", None),
        ] {
            let got = text.parse::<NetworkMode>().ok().map(|mode| mode.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn puts_networks_together() {
        let ip = Asked { ipv4: Some(Ipv4Addr::new(10, 1, 1, 1)), ..Asked::default() };
        let alias = Asked { aliases: vec!["a".to_owned()], ..Asked::default() };
        let nothing = Asked::default();
        for (modes, asked, want) in [
            (&[][..], &nothing, Some("default")),
            (&["one", "two:alias=b"], &alias, Some("one a; two b a")),
            (&["one"], &ip, Some("one 10.1.1.1")),
            (&[], &ip, Some("podman 10.1.1.1")),
            (&["one", "two"], &ip, None),
            (&["host"], &alias, None),
            (&["host"], &nothing, Some("host")),
            (&["host", "one"], &nothing, None),
            (&["one", "none"], &nothing, None),
        ] {
            let modes = modes.iter().map(|it| it.parse().unwrap()).collect();
            let show = |it: &Membership| {
                let words = [it.network.clone()].into_iter();
                let words = words.chain(it.ipv4.map(|it| it.to_string()));
                words.chain(it.aliases.clone()).collect::<Vec<_>>().join(" ")
            };
            let got =
                NetworkMode::together(modes).and_then(|it| it.asking(asked)).ok().map(|mode| {
                    match mode.memberships() {
                        [] => mode.to_string(),
                        members => members.iter().map(show).collect::<Vec<_>>().join("; "),
                    }
                });
            assert_eq!(got.as_deref(), want, "{asked:?}");
        }
    }

    #[test]
    fn parses_hosts_and_exposed_ports() {
        for (text, want) in [
            ("db:10.0.0.5", Some("db 10.0.0.5")),
            ("a;b:::1", Some("a;b ::1")),
            ("a;:::1", None),
            ("a:[::1]", Some("a ::1")),
            ("gw=host-gateway", Some("gw host-gateway")),
            ("db", None),
            ("db:", None),
            (":1.2.3.4", None),
            ("a b:1.2.3.4", None),
            ("a:1.2.3", None),
        ] {
            let got = parse_host(text).ok().map(|(names, ip)| format!("{names} {ip}"));
            assert_eq!(got.as_deref(), want, "{text}");
        }
        let hosts = ["a;b:::1", "gw=host-gateway"].map(|text| parse_host(text).unwrap()).to_vec();
        let names = NameResolution { hosts, ..NameResolution::default() };
        assert!(names.host_entries().eq(["a:::1", "b:::1", "gw:host-gateway"]));
        assert_eq!(parse_exposed("80-81/udp").unwrap(), ["80/udp", "81/udp"]);
        assert!(parse_exposed("0").is_err() && parse_exposed("x").is_err());
    }
}
