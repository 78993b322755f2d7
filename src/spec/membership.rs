//! How a container is on one network: `NAME[:ip=…,mac=…,alias=…]`, Docker's `name=NAME,ip=…` too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name;
use crate::error::{Error, Kind, Result};

/// The name of the network that is there from the beginning.
pub const DEFAULT_NETWORK: &str = "podman";
/// Docker's name for it.
pub const DEFAULT_ALIAS: &str = "bridge";

/// What Docker calls an interface's name among what a driver is told.
pub const INTERFACE_OPTION: &str = "com.docker.network.endpoint.ifname";

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// How a container is on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Membership {
    /// The network: as the user named it, and once that is settled, its name.
    pub network: String,
    /// Names by which others on the network know the container, beside its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Others on the network by names that only the container knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// The IPv4 address that it must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address that it must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// The hardware address that it must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The name of its interface; one is made up if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Of the container's networks that lead out, it takes the one with the highest number, and of
    /// several the first.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Another container, and what one calls it: `CONTAINER[:ALIAS]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other container, by name or ID.
    pub container: String,
    /// The name that it has for one.
    pub alias: String,
}

impl Membership {
    /// A plain member of a network.
    pub fn of(network: &str) -> Self {
        Self { network: network.to_owned(), ..Self::default() }
    }

    /// Asks for one more address.
    pub fn set_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.ipv4 = Some(address),
            IpAddr::V6(address) => self.ipv6 = Some(address),
        }
    }

    /// Sets what Docker tells the network's driver.
    pub fn set_driver_option(&mut self, name: &str, value: &str) -> Result<()> {
        if name != INTERFACE_OPTION {
            let text = format!("unsupported option `{name}` of a container's place on a network");
            return Err(Error::new(Kind::Unsupported, text)
                .hint(format!("known is {INTERFACE_OPTION}, the name of the interface")));
        }
        self.interface = Some(parse_interface(value)?);
        Ok(())
    }

    /// Adds the options after the name, as in `ip=10.89.0.5,alias=db`.
    pub fn add_options(&mut self, text: &str) -> Result<()> {
        text.split(',').filter(|word| !word.is_empty()).try_for_each(|word| self.add_option(word))
    }

    fn add_option(&mut self, text: &str) -> Result<()> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid option `{text}` of a network")).hint(
                "known are ip=, ip6=, mac=, alias=, interface_name=, gw-priority= and driver-opt=, as \
                 in net1:ip=10.89.0.5",
            )
        };
        let (key, value) = text.split_once('=').ok_or_else(invalid)?;
        let address = || value.parse::<IpAddr>().map_err(|_| invalid());
        match key {
            "ip" => self.set_address(address()?),
            "ip6" if address()?.is_ipv6() => self.set_address(address()?),
            "mac" | "mac-address" => self.mac = Some(value.parse()?),
            "alias" => self.aliases.push(parse_alias(value)?),
            "interface_name" => self.interface = Some(parse_interface(value)?),
            "gw-priority" => self.priority = value.parse().map_err(|_| invalid())?,
            "driver-opt" => {
                let (name, value) = value.split_once('=').ok_or_else(invalid)?;
                self.set_driver_option(name, value)?;
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

impl FromStr for Membership {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut membership = Self::default();
        if text.starts_with("name=") {
            let (named, others): (Vec<&str>, Vec<&str>) =
                text.split(',').partition(|word| word.starts_with("name="));
            if let [word] = named.as_slice() {
                membership.network = name::parse(&word["name=".len()..])?;
            }
            membership.add_options(&others.join(","))?;
        } else {
            let (name, options) = text.split_once(':').unwrap_or((text, ""));
            membership.network = name::parse(name)?;
            membership.add_options(options)?;
        }
        if membership.network == DEFAULT_ALIAS {
            DEFAULT_NETWORK.clone_into(&mut membership.network);
        }
        if membership.network.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                format!("`{text}` names no network, or several"),
            ));
        }
        Ok(membership)
    }
}

impl FromStr for Link {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // As Docker writes them: `/db:/web/database`.
        let (container, alias) = text.split_once(':').unwrap_or((text, text));
        let container = container.strip_prefix('/').unwrap_or(container);
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        let invalid = |error: Error| error.within(format!("invalid link `{text}`"));
        Ok(Self {
            container: name::parse(container).map_err(invalid)?,
            alias: parse_alias(alias).map_err(invalid)?,
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.container, self.alias)
    }
}

/// Checks a name by which a container is known.
pub fn parse_alias(text: &str) -> Result<String> {
    let good = !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && text.split('.').all(|label| (1..=63).contains(&label.len()));
    if good {
        return Ok(text.to_owned());
    }
    Err(Error::new(Kind::Invalid, format!("invalid name `{text}` of a container on a network"))
        .hint("letters, digits, `-` and `_`, in parts between dots of at most 63 characters"))
}

/// Checks the name of an interface, as the kernel does.
pub fn parse_interface(text: &str) -> Result<String> {
    let good = (1..16).contains(&text.len())
        && !matches!(text, "." | ".." | "lo" | "all" | "default")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/:".contains(&byte));
    if good {
        return Ok(text.to_owned());
    }
    Err(Error::new(Kind::Invalid, format!("invalid name `{text}` of an interface"))
        .hint("up to 15 characters, without `/` and `:`"))
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(Kind::Invalid, format!("invalid MAC address `{text}`: {why}"))
                .hint("write six numbers, as in 92:d0:c6:0a:29:33")
        };
        let mut bytes = [0; 6];
        let mut words = text.split([':', '-']);
        for byte in &mut bytes {
            let is_hex = |word: &&str| word.bytes().all(|digit| digit.is_ascii_hexdigit());
            let word = words.next().filter(|word| (1..=2).contains(&word.len()));
            *byte = word
                .filter(is_hex)
                .and_then(|word| u8::from_str_radix(word, 16).ok())
                .ok_or_else(|| invalid("it has not six bytes"))?;
        }
        if words.next().is_some() {
            return Err(invalid("it has more than six bytes"));
        }
        if bytes[0] & 1 != 0 || bytes == [0; 6] {
            return Err(invalid("no single interface can have it"));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_links() {
        for (text, want) in [
            ("db", Some("db:db")),
            ("db:data.base", Some("db:data.base")),
            ("/db:/web/database", Some("db:database")),
            ("db:", None),
            (":db", None),
            ("db:a b", None),
            ("a/b:c", None),
            ("", None),
        ] {
            let got = text.parse::<Link>().ok().map(|link| link.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn parses_memberships() {
        for (text, want) in [
            ("net1", Some("net1 None None None [] None")),
            ("bridge", Some("podman None None None [] None")),
            ("net1:", Some("net1 None None None [] None")),
            (
                "net1:ip=10.89.0.5,mac=92:d0:c6:0a:29:33,alias=a,alias=b.c,interface_name=e1",
                Some("net1 10.89.0.5 None 92:d0:c6:0a:29:33 [a b.c] e1"),
            ),
            ("net1:ip=fd00::5", Some("net1 None fd00::5 None [] None")),
            (
                "name=net1,ip=10.89.0.5,ip6=fd00::5,mac-address=92-d0-c6-0a-29-33,alias=x",
                Some("net1 10.89.0.5 fd00::5 92:d0:c6:0a:29:33 [x] None"),
            ),
            ("net1:ip6=10.89.0.5", None),
            ("net1:ip=10.89.0", None),
            ("net1:mac=01:00:00:00:00:01", None),
            ("net1:mac=92:d0:c6:0a:29", None),
            ("net1:mac=92:d0:c6:0a:29:33:1", None),
            ("net1:mac=+2:d0:c6:0a:29:33", None),
            ("net1:alias=", None),
            ("net1:alias=a b", None),
            ("net1:alias=a..b", None),
            ("net1:interface_name=lo", None),
            ("net1:interface_name=a/b", None),
            ("net1:gw-priority=x", None),
            ("net1:driver-opt=com.docker.network.endpoint.sysctls=x", None),
            (
                "name=net1,gw-priority=-1,driver-opt=com.docker.network.endpoint.ifname=e9",
                Some("net1 None None None [] e9 -1"),
            ),
            ("net1:x=y", None),
            ("net1:x", None),
            ("name=a,name=b", None),
            ("", None),
            (":ip=10.89.0.5", None),
        ] {
            let show = |it: Membership| {
                let or = |text: Option<String>| text.unwrap_or_else(|| "None".to_owned());
                let priority =
                    if it.priority == 0 { String::new() } else { format!(" {}", it.priority) };
                format!(
                    "{} {} {} {} [{}] {}{priority}",
                    it.network,
                    or(it.ipv4.map(|it| it.to_string())),
                    or(it.ipv6.map(|it| it.to_string())),
                    or(it.mac.map(|it| it.to_string())),
                    it.aliases.join(" "),
                    or(it.interface),
                )
            };
            assert_eq!(text.parse().ok().map(show).as_deref(), want, "{text}");
        }
    }
}
