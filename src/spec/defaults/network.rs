//! What `containers.conf` says of networks.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

use super::List;
use super::file::{Item, Reader};
use crate::error::{Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::spec::membership::{DEFAULT_ALIAS, DEFAULT_NETWORK};
use crate::spec::name;
use crate::spec::network::NetworkMode;
use crate::spec::user_mode::{PastaOptions, SlirpOptions};

/// The longest prefix of an IPv4 network that has room for a gateway and a container.
const LONGEST: u8 = 30;

/// The table of networks, as it is written.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    default_network: Option<String>,
    default_rootless_network_cmd: Option<String>,
    default_subnet: Option<String>,
    default_subnet_pools: Option<Vec<RawPool>>,
    pasta_options: Option<Vec<Item>>,
}

#[derive(Deserialize)]
struct RawPool {
    base: String,
    size: u8,
}

/// What is said of networks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkDefaults {
    /// The network of containers for which none is named, if it is not the usual one.
    pub name: Option<String>,
    /// IPv4 addresses of the network that is there from the beginning.
    pub subnet: Option<Cidr>,
    /// What the IPv4 addresses of other networks are chosen from.
    pub pools: Option<Vec<Pool>>,
    /// The network of containers without root for which none is named.
    pub rootless: Option<NetworkMode>,
    /// Arguments that pasta has before all others.
    pub pasta_options: List<String>,
}

/// IPv4 addresses, in networks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    base: Cidr,
    size: u8,
}

impl Pool {
    fn new(base: Cidr, size: u8) -> Option<Self> {
        let good = base.address().is_ipv4() && (base.prefix()..=LONGEST).contains(&size);
        good.then_some(Self { base, size })
    }

    /// Returns where it begins, and the length of the prefix of each of its networks.
    pub fn parts(self) -> (Cidr, u8) {
        (self.base, self.size)
    }

    /// Returns its networks, in order.
    pub fn networks(self) -> impl Iterator<Item = Cidr> {
        let first = match self.base.range().0 {
            IpAddr::V4(first) => u32::from(first),
            IpAddr::V6(_) => 0,
        };
        let (width, length) = (32 - u32::from(self.size), self.size);
        let count = 1u64 << (self.size - self.base.prefix());
        let address = move |number: u64| Some(first + u32::try_from(number << width).ok()?);
        (0..count).filter_map(address).filter_map(move |it| Cidr::new(Ipv4Addr::from(it), length))
    }
}

impl NetworkDefaults {
    /// Reads the table.
    pub(super) fn read(raw: Raw, reader: &Reader<'_>) -> Result<Self> {
        let name = reader.value("default_network", raw.default_network, name::parse)?;
        let usual = [DEFAULT_NETWORK, DEFAULT_ALIAS];
        let pool = |raw: &RawPool| {
            let pool =
                raw.base.parse().ok().and_then(|base: Cidr| Pool::new(base.network(), raw.size));
            pool.ok_or_else(|| {
                let text = format!("`{}` has no IPv4 networks of size {}", raw.base, raw.size);
                Error::new(Kind::Invalid, text)
                    .hint("write, for example, {base = \"10.100.0.0/16\", size = 24}")
            })
        };
        let pools = raw.default_subnet_pools.map(|it| it.iter().map(pool).collect());
        Ok(Self {
            name: name.filter(|name| !usual.contains(&name.as_str())),
            subnet: reader.value("default_subnet", raw.default_subnet, subnet)?,
            pools: pools
                .map(|it| reader.within("default_subnet_pools", it))
                .transpose()?
                .filter(|it: &Vec<Pool>| !it.is_empty()),
            rootless: reader.value(
                "default_rootless_network_cmd",
                raw.default_rootless_network_cmd,
                stack,
            )?,
            pasta_options: reader
                .list("pasta_options", raw.pasta_options, |text| Ok(text.to_owned()))?,
        })
    }

    /// Puts what a later file says over this.
    pub(super) fn overlay(&mut self, later: Self) {
        self.name = later.name.or(self.name.take());
        self.subnet = later.subnet.or(self.subnet.take());
        self.pools = later.pools.or(self.pools.take());
        self.rootless = later.rootless.or(self.rootless.take());
        self.pasta_options.overlay(later.pasta_options);
    }

    /// Says what a mode means where it leaves that to what is usual.
    pub fn settle(&self, mode: &mut NetworkMode, rootless: bool) {
        if *mode == NetworkMode::Default {
            let usual = match rootless {
                true => self.rootless.clone().or_else(|| {
                    let has_options = !self.pasta_options.all().is_empty();
                    has_options.then(|| NetworkMode::Pasta(PastaOptions::default()))
                }),
                false => self.name.as_ref().and_then(|name| name.parse().ok()),
            };
            *mode = usual.unwrap_or(NetworkMode::Default);
        }
        match mode {
            NetworkMode::Pasta(options) => {
                options.0.splice(..0, self.pasta_options.all().iter().cloned());
            }
            NetworkMode::Networks(members) => {
                let usual = members.iter_mut().filter(|it| it.network == DEFAULT_NETWORK);
                for member in usual {
                    if let Some(name) = &self.name {
                        member.network.clone_from(name);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Parses the addresses of a network.
fn subnet(text: &str) -> Result<Cidr> {
    let subnet = text.parse::<Cidr>()?.network();
    if subnet.address().is_ipv4() && subnet.prefix() <= LONGEST {
        return Ok(subnet);
    }
    Err(Error::new(Kind::Invalid, format!("{subnet} is no IPv4 network, or too small for one"))
        .hint("write, for example, 10.88.0.0/16"))
}

/// Parses the name of a user-mode network stack.
fn stack(text: &str) -> Result<NetworkMode> {
    match text {
        "pasta" => Ok(NetworkMode::Pasta(PastaOptions::default())),
        "slirp4netns" => Ok(NetworkMode::Slirp4netns(SlirpOptions::default())),
        _ => Err(Error::new(Kind::Invalid, format!("there is no network stack `{text}`"))
            .hint("write pasta or slirp4netns")),
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::defaults::Defaults;
    use crate::spec::network::NetworkMode;

    fn read(text: &str) -> Result<Defaults, String> {
        Defaults::parse(&format!("[network]\n{text}\n"), "f").map_err(|error| error.to_string())
    }

    #[test]
    fn reads_addresses() {
        let read = read(
            "default_subnet = \"10.5.6.7/16\"\n\
             default_subnet_pools = [{base = \"10.6.0.0/23\", size = 24}, {base = \"10.7.0.0/30\", size = 30}]\n\
             dns_bind_port = 54",
        );
        let read = read.unwrap().network;
        assert_eq!(read.subnet.unwrap().to_string(), "10.5.0.0/16");
        let networks = read.pools.unwrap().into_iter().flat_map(super::Pool::networks);
        let networks: Vec<_> = networks.map(|it| it.to_string()).collect();
        assert_eq!(networks, ["10.6.0.0/24", "10.6.1.0/24", "10.7.0.0/30"]);
    }

    #[test]
    fn tells_what_is_wrong() {
        for (text, want) in [
            ("default_subnet = \"10.5.0.0/31\"", "f: `default_subnet`: 10.5.0.0/31 is no IPv4"),
            ("default_subnet = \"x\"", "f: `default_subnet`: "),
            ("default_network = \"a/b\"", "f: `default_network`: "),
            ("default_rootless_network_cmd = \"x\"", "f: `default_rootless_network_cmd`: there is"),
            (
                "default_subnet_pools = [{base = \"10.6.0.0/24\", size = 16}]",
                "f: `default_subnet_pools`: `10.6.0.0/24` has no IPv4 networks of size 16",
            ),
            ("default_subnet_pools = [{base = \"0.0.0.0/0\", size = 31}]", "f: `default_subnet_p"),
            ("default_subnet_pools = [{base = \"fd00::/48\", size = 64}]", "f: `default_subnet_p"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
    }

    #[test]
    fn says_what_modes_mean() {
        let usual = read(
            "default_network = \"own\"\ndefault_rootless_network_cmd = \"slirp4netns\"\n\
             pasta_options = [\"--mtu\", \"1400\"]",
        );
        let usual = usual.unwrap().network;
        for (mode, rootless, want) in [
            ("default", false, "own"),
            ("default", true, "slirp4netns"),
            ("bridge:ip=10.1.1.1", false, "own"),
            ("other", true, "other"),
            ("none", false, "none"),
        ] {
            let mut mode: NetworkMode = mode.parse().unwrap();
            usual.settle(&mut mode, rootless);
            assert_eq!(mode.to_string(), want);
        }
        let mut mode: NetworkMode = "pasta:-T,5432".parse().unwrap();
        usual.settle(&mut mode, true);
        assert_eq!(mode, "pasta:--mtu,1400,-T,5432".parse().unwrap());
    }
}
