//! A network as it is asked for: its driver, its addresses, and what the driver is told.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cidr::Cidr;
use super::membership::parse_interface;
use super::mount::parse_bool;
use crate::error::{Error, Kind, Result};

/// What a network is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of this machine, with a way out through it.
    #[default]
    Bridge,
    /// An interface of each container's own on the network that one of this machine's is on.
    Macvlan,
    /// Addresses of each container's own, by the interface of this machine itself.
    Ipvlan,
    /// What a CNI plugin makes; its whole name, as in `cni:bridge`.
    Cni(String),
}

/// Where containers get their addresses from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ipam {
    /// They are leased here.
    #[default]
    HostLocal,
    /// Somebody on the network gives them.
    Dhcp,
    /// They get none.
    None,
}

/// Addresses of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// All of them.
    pub subnet: Cidr,
    /// The one that leads out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// First and last one that are leased to containers; `None` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(IpAddr, IpAddr)>,
}

/// A way to elsewhere, as in `10.50.0.0/16,10.89.0.9,100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads.
    pub destination: Cidr,
    /// Who knows more of it; on the network.
    pub gateway: IpAddr,
    /// Of several ways the one with the lowest number is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// Whether containers on other networks of this machine are kept away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Those of networks that say the same are let in.
    Open,
    /// They are, but published ports are for everybody.
    Usual,
    /// They are, from published ports as well.
    Strict,
}

/// A network as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// What it is made of.
    pub driver: Driver,
    /// Its addresses; at most one of each version of IP. Chosen when it is made, if there are none.
    pub subnets: Vec<Subnet>,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// Whether there is no way out of it.
    pub internal: bool,
    /// Whether its containers know each other by name.
    pub dns: bool,
    /// Ways to elsewhere that its containers know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Who is asked for all other names; empty is whom this machine asks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Addresses of others that no container gets, by names that somebody has for them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
    /// Where addresses come from.
    pub ipam: Ipam,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What the driver is told.
    pub options: BTreeMap<String, String>,
}

/// How containers on one interface of this machine see each other, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// As on a bridge.
    Bridge,
    /// Not at all.
    Private,
    /// By way of the next switch.
    Vepa,
    /// There is one that has the interface for itself.
    Passthru,
}

/// How far this machine takes part in what containers on one of its interfaces send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// As a switch does.
    L2,
    /// As a router does: nothing is sent to all.
    L3,
    /// As a router with a firewall does.
    L3s,
}

/// How containers share an interface of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Each has a hardware address.
    Macvlan(MacvlanMode),
    /// All have that of the interface.
    Ipvlan(IpvlanMode),
}

/// The options that are known, by Podman's name and by Docker's.
const OPTIONS: [(&str, &str); 10] = [
    ("parent", "parent"),
    ("mode", "macvlan_mode"),
    ("mode", "ipvlan_mode"),
    ("vlan", "vlan"),
    ("mtu", "com.docker.network.driver.mtu"),
    ("isolate", "isolate"),
    ("icc", "com.docker.network.bridge.enable_icc"),
    ("masquerade", "com.docker.network.bridge.enable_ip_masquerade"),
    ("interface", "com.docker.network.bridge.name"),
    ("publish", "com.docker.network.bridge.host_binding_ipv4"),
];

/// The mode of bridges that others have made.
const UNMANAGED: &str = "unmanaged";

impl NetworkSpec {
    /// Adds what the driver is told, as in `mtu=1400`.
    pub fn add_option(&mut self, text: &str) -> Result<()> {
        let invalid = |why: &str| {
            Error::new(Kind::Invalid, format!("invalid option `{text}` of a network: {why}"))
        };
        let (key, value) = text.split_once('=').ok_or_else(|| invalid("it has no value"))?;
        if self.driver.plugin().is_some() {
            // What the plugin does not know it leaves, or complains of.
            self.options.insert(key.to_owned(), value.to_owned());
            return Ok(());
        }
        // Not every tool that sets these means anything by them.
        if key.starts_with("com.docker.network.") && !OPTIONS.iter().any(|(_, own)| *own == key) {
            self.options.insert(key.to_owned(), value.to_owned());
            return Ok(());
        }
        let Some((word, _)) = OPTIONS.iter().find(|(own, docker)| *own == key || *docker == key)
        else {
            return Err(self.unsupported(key));
        };
        let is_of_driver = match *word {
            "mtu" => true,
            "mode" => key == "mode" || key.starts_with(self.driver.as_str()),
            "parent" => self.driver != Driver::Bridge,
            _ => self.driver == Driver::Bridge,
        };
        if !is_of_driver {
            return Err(self.unsupported(key));
        }
        let good = match *word {
            "mtu" => value.parse::<u32>().is_ok_and(|mtu| (68..=65535).contains(&mtu) || mtu == 0),
            "mode" if self.driver == Driver::Bridge => matches!(value, "managed" | UNMANAGED),
            "mode" => self.sharing_by(value).is_some(),
            "vlan" => vlan(value).is_some(),
            "isolate" => value == "strict" || parse_bool(value).is_some(),
            "icc" | "masquerade" => parse_bool(value).is_some(),
            "publish" => value.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
            _ => parse_interface(value).is_ok(),
        };
        if !good {
            return Err(invalid("it cannot have this value"));
        }
        self.options.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn unsupported(&self, key: &str) -> Error {
        let driver = self.driver.as_str();
        let text = format!("unsupported {driver} network option {key}");
        Error::new(Kind::Invalid, text).hint(match &self.driver {
            Driver::Bridge => {
                "known are mtu, isolate, vlan, mode, and Docker's com.docker.network.*"
            }
            Driver::Macvlan | Driver::Ipvlan => "known are parent, mode and mtu",
            Driver::Cni(_) => "the plugin says what it knows",
        })
    }

    /// Returns the interface of this machine that was asked for.
    pub fn parent(&self) -> Option<&str> {
        self.option("parent")
    }

    /// Returns how containers share that interface; `None` with another driver.
    pub fn sharing(&self) -> Option<Sharing> {
        self.sharing_by(self.option("mode").unwrap_or_default())
    }

    /// Returns how they do by the name of a mode, of which the empty one is the usual.
    fn sharing_by(&self, mode: &str) -> Option<Sharing> {
        Some(match &self.driver {
            Driver::Bridge | Driver::Cni(_) => return None,
            Driver::Macvlan => Sharing::Macvlan(match mode {
                "bridge" | "" => MacvlanMode::Bridge,
                "private" => MacvlanMode::Private,
                "vepa" => MacvlanMode::Vepa,
                "passthru" => MacvlanMode::Passthru,
                _ => return None,
            }),
            Driver::Ipvlan => Sharing::Ipvlan(match mode {
                "l2" | "" => IpvlanMode::L2,
                "l3" => IpvlanMode::L3,
                "l3s" => IpvlanMode::L3s,
                _ => return None,
            }),
        })
    }

    /// Tells whether it is a bridge that others have made, and see to.
    pub fn is_unmanaged(&self) -> bool {
        self.driver == Driver::Bridge && self.option("mode") == Some(UNMANAGED)
    }

    /// Tells whether it is a network of others, who have its addresses.
    pub fn is_of_others(&self) -> bool {
        self.sharing().is_some() || self.is_unmanaged()
    }

    /// Returns the tag of the VLAN that the containers' ports of a bridge are in.
    pub fn vlan(&self) -> Option<u16> {
        self.option("vlan").and_then(vlan)
    }

    fn option(&self, word: &str) -> Option<&str> {
        let names = OPTIONS.iter().filter(|(own, _)| *own == word);
        let mut names = names.flat_map(|(own, docker)| [own, docker]);
        names.find_map(|name| self.options.get(*name)).map(String::as_str)
    }

    /// Returns the largest packet that was asked for.
    pub fn mtu(&self) -> Option<u32> {
        self.option("mtu")?.parse().ok().filter(|mtu| *mtu > 0)
    }

    /// Returns the name of the bridge that was asked for.
    pub fn interface(&self) -> Option<&str> {
        self.option("interface")
    }

    /// Returns the address of this machine at which ports are published that name none.
    pub fn publish_at(&self) -> Option<IpAddr> {
        self.option("publish")?.parse().ok().filter(|address: &IpAddr| !address.is_unspecified())
    }

    /// Tells whether containers on the network see each other.
    pub fn neighbors(&self) -> bool {
        self.option("icc").and_then(parse_bool).unwrap_or(true)
    }

    /// Tells whether what goes out does so under this machine's address.
    pub fn masquerades(&self) -> bool {
        self.option("masquerade").and_then(parse_bool).unwrap_or(true)
    }

    /// Tells who is kept away.
    pub fn isolation(&self) -> Isolation {
        match self.option("isolate") {
            None => Isolation::Usual,
            Some("strict") => Isolation::Strict,
            Some(text) if parse_bool(text) == Some(false) => Isolation::Open,
            Some(_) => Isolation::Usual,
        }
    }

    /// Keeps addresses of the network's subnets from containers.
    pub fn reserve(&mut self, all: impl IntoIterator<Item = Reserved>) -> Result<()> {
        for Reserved { name, address } in all {
            if !self.subnets.iter().any(|it| it.subnet.contains(address)) {
                let text = format!("auxiliary address {name}={address} is in no subnet");
                return Err(Error::new(Kind::Invalid, text).hint("name the subnet by --subnet"));
            }
            self.reserved.insert(name, address);
        }
        Ok(())
    }

    /// Adds the addresses that the flags `--subnet`, `--gateway` and `--ip-range` name together.
    pub fn add_subnets(
        &mut self,
        subnets: &[Cidr],
        gateways: &[IpAddr],
        ranges: &[Range],
    ) -> Result<()> {
        let invalid = |text: String| Err(Error::new(Kind::Invalid, text));
        if subnets.is_empty() && !gateways.is_empty() {
            return invalid("cannot set gateway without subnet".to_owned());
        }
        if subnets.is_empty() && !ranges.is_empty() {
            return invalid("cannot set range without subnet".to_owned());
        }
        for subnet in subnets {
            let subnet = subnet.network();
            let longest = if subnet.address().is_ipv4() { 30 } else { 126 };
            if subnet.prefix() > longest {
                return invalid(format!("subnet {subnet} is too small for a network"));
            }
            if self
                .subnets
                .iter()
                .any(|it| it.subnet.address().is_ipv4() == subnet.address().is_ipv4())
            {
                return invalid(format!("{subnet} is a second subnet of one version of IP"));
            }
            self.ipv6 |= subnet.address().is_ipv6();
            self.subnets.push(Subnet { subnet, gateway: None, range: None });
        }
        for gateway in gateways {
            match self.subnets.iter_mut().find(|it| it.subnet.contains(*gateway)) {
                Some(subnet) => subnet.gateway = Some(*gateway),
                None => return invalid(format!("gateway {gateway} not in subnet")),
            }
        }
        for range in ranges {
            let within =
                |it: &&mut Subnet| it.subnet.contains(range.0) && it.subnet.contains(range.1);
            match self.subnets.iter_mut().find(within) {
                Some(subnet) => subnet.range = Some((range.0, range.1)),
                None => return invalid(format!("IP range {range} is in no subnet of the network")),
            }
        }
        Ok(())
    }
}

/// An address of somebody else's on the network, as in `router=10.89.0.9`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// What it is called.
    pub name: String,
    /// The address.
    pub address: IpAddr,
}

impl FromStr for Reserved {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('=').and_then(|(name, address)| {
            let name = Some(name).filter(|name| !name.is_empty())?.to_owned();
            Some(Self { name, address: address.parse().ok()? })
        });
        parsed.ok_or_else(|| {
            Error::new(Kind::Invalid, format!("invalid auxiliary address `{text}`"))
                .hint("write NAME=IP, as in router=10.89.0.9")
        })
    }
}

impl FromStr for Route {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid route `{text}`")).hint(
                "write NETWORK,GATEWAY[,METRIC], as in 10.50.0.0/16,10.89.0.9 or fd50::/64,fd89::9,100",
            )
        };
        let mut words = text.split(',').map(str::trim);
        let mut next = || words.next().ok_or_else(invalid);
        let destination = next()?.parse::<Cidr>().map_err(|_| invalid())?.network();
        let gateway = next()?.parse::<IpAddr>().map_err(|_| invalid())?;
        let metric = words.next().map(str::parse).transpose().map_err(|_| invalid())?;
        let alike = destination.address().is_ipv4() == gateway.is_ipv4();
        if !alike || words.next().is_some() {
            return Err(invalid());
        }
        Ok(Self { destination, gateway, metric })
    }
}

/// Reads the tag of a VLAN.
fn vlan(text: &str) -> Option<u16> {
    text.parse().ok().filter(|id| (1..=4094).contains(id))
}

/// Takes the name of a VLAN's interface apart, as in `eth0.100`: the interface, and the tag.
pub fn split_vlan(name: &str) -> Option<(&str, u16)> {
    let (parent, id) = name.rsplit_once('.')?;
    vlan(id).filter(|_| !parent.is_empty()).map(|id| (parent, id))
}

/// First and last address of `--ip-range`: a network, or two addresses as in `10.89.0.5-10.89.0.9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range(pub IpAddr, pub IpAddr);

impl FromStr for Range {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid IP range `{text}`"))
                .hint("write a network, as in 10.89.0.128/25, or two addresses with `-` between")
        };
        let range = match text.split_once('-') {
            Some((first, last)) => {
                Self(first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?)
            }
            None => {
                let (first, last) = text.parse::<Cidr>().map_err(|_| invalid())?.range();
                Self(first, last)
            }
        };
        let good = range.0.is_ipv4() == range.1.is_ipv4() && range.0 <= range.1;
        if good { Ok(range) } else { Err(invalid()) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for Driver {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "bridge" | "" => Ok(Self::Bridge),
            "macvlan" => Ok(Self::Macvlan),
            "ipvlan" => Ok(Self::Ipvlan),
            _ if text.strip_prefix("cni:").is_some_and(is_plugin) => Ok(Self::Cni(text.to_owned())),
            _ => Err(Error::new(Kind::Unsupported, format!("unsupported driver {text}"))
                .hint("there are bridge, macvlan, ipvlan, and cni:NAME for CNI plugins")),
        }
    }
}

impl FromStr for Ipam {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "host-local" | "default" | "" => Ok(Self::HostLocal),
            "dhcp" => Ok(Self::Dhcp),
            "none" => Ok(Self::None),
            _ => Err(Error::new(Kind::Unsupported, format!("unsupported ipam driver \"{text}\""))
                .hint("use host-local, dhcp or none")),
        }
    }
}

/// Tells whether this can be the name of a program in a directory.
fn is_plugin(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

impl Driver {
    /// Returns the name of the CNI plugin, if it is one.
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::Cni(name) => name.strip_prefix("cni:"),
            _ => None,
        }
    }

    /// Returns its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Cni(name) => name,
        }
    }
}

impl Ipam {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostLocal => "host-local",
            Self::Dhcp => "dhcp",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_options() {
        for (text, good) in [
            ("mtu=1400", true),
            ("mtu=1", false),
            ("com.docker.network.driver.mtu=1400", true),
            ("isolate=true", true),
            ("isolate=strict", true),
            ("isolate=x", false),
            ("com.docker.network.bridge.enable_icc=false", true),
            ("com.docker.network.bridge.enable_icc=x", false),
            ("com.docker.network.bridge.name=br-x", true),
            ("com.docker.network.bridge.name=a/b", false),
            ("com.docker.network.container_iface_prefix=x", true),
            ("vlan=100", true),
            ("vlan=4095", false),
            ("mode=unmanaged", true),
            ("mode=managed", true),
            ("mode=l2", false),
            ("macvlan_mode=bridge", false),
            ("parent=eth0", false),
            ("nosuch=1", false),
            ("mtu", false),
        ] {
            assert_eq!(NetworkSpec::default().add_option(text).is_ok(), good, "{text}");
        }
        let mut spec = NetworkSpec::default();
        spec.add_option("com.docker.network.driver.mtu=1400").unwrap();
        spec.add_option("isolate=false").unwrap();
        assert_eq!((spec.mtu(), spec.isolation()), (Some(1400), Isolation::Open));
    }

    #[test]
    fn knows_how_interfaces_are_shared() {
        let of = |driver| NetworkSpec { driver, ..NetworkSpec::default() };
        for (driver, option, want) in [
            (Driver::Macvlan, "mtu=1400", Some(Sharing::Macvlan(MacvlanMode::Bridge))),
            (Driver::Macvlan, "mode=vepa", Some(Sharing::Macvlan(MacvlanMode::Vepa))),
            (Driver::Macvlan, "macvlan_mode=private", Some(Sharing::Macvlan(MacvlanMode::Private))),
            (Driver::Macvlan, "mode=l3", None),
            (Driver::Macvlan, "ipvlan_mode=l3", None),
            (Driver::Ipvlan, "parent=eth0.7", Some(Sharing::Ipvlan(IpvlanMode::L2))),
            (Driver::Ipvlan, "mode=l3s", Some(Sharing::Ipvlan(IpvlanMode::L3s))),
            (Driver::Ipvlan, "ipvlan_mode=l3", Some(Sharing::Ipvlan(IpvlanMode::L3))),
            (Driver::Ipvlan, "mode=bridge", None),
            (Driver::Ipvlan, "vlan=7", None),
        ] {
            let mut spec = of(driver);
            let got = spec.add_option(option).ok().and_then(|()| spec.sharing());
            assert_eq!(got, want, "{option}");
        }
        for (name, want) in [
            ("eth0.100", Some(("eth0", 100))),
            ("a.b.7", Some(("a.b", 7))),
            ("eth0", None),
            ("eth0.0", None),
            ("eth0.4095", None),
            (".5", None),
        ] {
            assert_eq!(split_vlan(name), want, "{name}");
        }
    }

    #[test]
    fn knows_plugins() {
        for (text, want) in [
            ("cni:bridge", Some("bridge")),
            ("cni:host-device", Some("host-device")),
            ("cni:", None),
            ("cni:../sh", None),
            ("cni:.", None),
            ("cni", None),
        ] {
            let driver = text.parse::<Driver>().ok();
            assert_eq!(driver.as_ref().and_then(Driver::plugin), want, "{text}");
            assert!(driver.is_none_or(|driver| driver.as_str() == text));
        }
    }

    #[test]
    fn puts_addresses_together() {
        let addresses = |texts: &[&str]| texts.iter().map(|it| it.parse().unwrap()).collect();
        for (subnets, gateways, ranges, good) in [
            (&["10.1.0.0/24"][..], &[][..], &[][..], true),
            (&["10.1.0.9/24", "fd00:1::/64"], &["10.1.0.7", "fd00:1::7"], &["10.1.0.128/25"], true),
            (&["10.1.0.0/24"], &[], &["10.1.0.5-10.1.0.9"], true),
            (&["10.1.0.0/24"], &["10.1.1.1"], &[], false),
            (&["10.1.0.0/24"], &[], &["10.1.0.5-10.1.1.9"], false),
            (&["10.1.0.0/24", "10.2.0.0/24"], &[], &[], false),
            (&["10.1.0.0/31"], &[], &[], false),
            (&[], &["10.1.1.1"], &[], false),
            (&[], &[], &["10.1.1.0/24"], false),
        ] {
            let subnets: Vec<Cidr> = subnets.iter().map(|it| it.parse().unwrap()).collect();
            let gateways: Vec<IpAddr> = addresses(gateways);
            let ranges: Vec<Range> = ranges.iter().map(|it| it.parse().unwrap()).collect();
            let mut spec = NetworkSpec::default();
            let added = spec.add_subnets(&subnets, &gateways, &ranges);
            assert_eq!(added.is_ok(), good, "{subnets:?} {gateways:?}");
        }
        for text in ["10.1.0.9-10.1.0.5", "10.1.0.9-fd00::1", "10.1.0.9", "x"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }
}
