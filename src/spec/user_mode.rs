//! What the user-mode network stacks are told: what follows `pasta:` and `slirp4netns:`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::cidr::Cidr;
use super::membership::parse_interface;
use super::mount::parse_bool;
use crate::error::{Error, Kind, Result};

/// Arguments for pasta, as in `--mtu,1400,-T,5432`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PastaOptions(pub Vec<String>);

impl PastaOptions {
    /// Tells whether an option is there, by its short or its long name.
    pub fn has(&self, short: &str, long: &str) -> bool {
        self.0.iter().any(|word| is_option(word, short, long))
    }

    /// Returns the value of an option that has only a long name.
    pub fn value(&self, long: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| is_option(word, long, long))?;
        match self.0[at].split_once('=') {
            Some((_, value)) => Some(value),
            None => self.0.get(at + 1).map(String::as_str),
        }
    }
}

fn is_option(word: &str, short: &str, long: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    // The value of a short one may follow at once, as in `-t8080`.
    name == long || !word.starts_with("--") && word.starts_with(short)
}

impl FromStr for PastaOptions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words: Vec<String> = text.split(',').map(str::to_owned).collect();
        let good = words.iter().all(|word| !word.is_empty() && !word.contains('\0'));
        if good && words[0].starts_with('-') {
            return Ok(Self(words));
        }
        Err(Error::new(Kind::Invalid, format!("invalid options of pasta `{text}`"))
            .hint("write its arguments with commas between, as in pasta:--mtu,1400,-T,5432"))
    }
}

/// Options of slirp4netns, as in `cidr=10.9.0.0/24,allow_host_loopback=true`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlirpOptions {
    /// Whether the container reaches what listens on this machine's loopback addresses.
    pub allow_host_loopback: bool,
    /// The container's network; at least 128 addresses.
    pub cidr: Option<Cidr>,
    /// Whether the container has IPv6.
    pub enable_ipv6: bool,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Address or interface by which IPv4 goes out.
    pub outbound: Option<String>,
    /// Address or interface by which IPv6 goes out.
    pub outbound6: Option<String>,
    /// Whether slirp4netns itself lets in what arrives at published ports: slower, but the container
    /// sees where it comes from.
    pub own_ports: bool,
}

impl SlirpOptions {
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "allow_host_loopback" => self.allow_host_loopback = parse_bool(value)?,
            "enable_ipv6" => self.enable_ipv6 = parse_bool(value)?,
            "cidr" => {
                let cidr = value.parse::<Cidr>().ok()?;
                let good = cidr.address().is_ipv4() && cidr.prefix() <= 25;
                self.cidr = Some(good.then(|| cidr.network())?);
            }
            "mtu" => {
                let mtu = value.parse().ok()?;
                self.mtu = Some((68..=65521).contains(&mtu).then_some(mtu)?);
            }
            "outbound_addr" => {
                let good = value.parse::<Ipv4Addr>().is_ok() || parse_interface(value).is_ok();
                self.outbound = good.then(|| Some(value.to_owned()))?;
            }
            "outbound_addr6" => {
                let good = value.parse::<Ipv6Addr>().is_ok() || parse_interface(value).is_ok();
                self.outbound6 = good.then(|| Some(value.to_owned()))?;
            }
            "port_handler" => match value {
                "rootlesskit" => self.own_ports = false,
                "slirp4netns" => self.own_ports = true,
                _ => return None,
            },
            _ => return None,
        }
        Some(())
    }
}

impl FromStr for SlirpOptions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut options = Self::default();
        for word in text.split(',') {
            let set = word.split_once('=').and_then(|(key, value)| options.set(key, value));
            set.ok_or_else(|| {
                Error::new(Kind::Invalid, format!("invalid option `{word}` of slirp4netns")).hint(
                    "known are allow_host_loopback=, cidr=, enable_ipv6=, mtu=, outbound_addr=, \
                     outbound_addr6= and port_handler=rootlesskit or slirp4netns",
                )
            })?;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_options_of_pasta() {
        let options: PastaOptions = "--map-gw,-t8080:80,--mtu=1400,--dns,10.0.0.1".parse().unwrap();
        for (short, long, want) in [
            ("-t", "--tcp-ports", true),
            ("-T", "--tcp-ns", false),
            ("-m", "--mtu", true),
            ("--map-gw", "--map-gw", true),
            ("-u", "--udp-ports", false),
        ] {
            assert_eq!(options.has(short, long), want, "{long}");
        }
        for (long, want) in
            [("--mtu", Some("1400")), ("--dns", Some("10.0.0.1")), ("--map-guest-addr", None)]
        {
            assert_eq!(options.value(long), want, "{long}");
        }
        for text in ["", "x", "--mtu,,1", "1400,--mtu"] {
            assert!(text.parse::<PastaOptions>().is_err(), "{text}");
        }
    }

    #[test]
    fn reads_options_of_slirp() {
        for (text, good) in [
            ("allow_host_loopback=true,cidr=10.9.0.0/24,enable_ipv6=1,mtu=1400", true),
            ("outbound_addr=10.0.0.1,outbound_addr6=fd00::1,port_handler=slirp4netns", true),
            ("outbound_addr=eth0", true),
            ("outbound_addr=fd00::1", false),
            ("cidr=10.9.0.0/26", false),
            ("cidr=fd00::/64", false),
            ("mtu=65522", false),
            ("port_handler=x", false),
            ("allow_host_loopback=maybe", false),
            ("nosuch=1", false),
            ("mtu", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<SlirpOptions>().is_ok(), good, "{text}");
        }
        let options: SlirpOptions = "cidr=10.9.0.7/24,port_handler=slirp4netns".parse().unwrap();
        assert_eq!(options.cidr.unwrap().to_string(), "10.9.0.0/24");
        assert!(options.own_ports && !options.allow_host_loopback);
    }
}
