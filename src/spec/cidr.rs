//! An IP address with the length of its network prefix, as in `10.88.0.2/16`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// An IP address with the length of its network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Makes one of its parts; the prefix is not longer than the address.
    pub fn new(address: impl Into<IpAddr>, prefix: u8) -> Option<Self> {
        let address = address.into();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Returns the address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Returns the length of the prefix in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Returns the network that the address is in, as `10.88.0.0/16`.
    #[must_use]
    pub fn network(self) -> Self {
        Self { address: self.range().0, prefix: self.prefix }
    }

    /// Returns the first and the last address of the network.
    pub fn range(self) -> (IpAddr, IpAddr) {
        match self.address {
            IpAddr::V4(address) => {
                let mask = ipv4_mask(self.prefix);
                let first = u32::from(address) & mask;
                (Ipv4Addr::from(first).into(), Ipv4Addr::from(first | !mask).into())
            }
            IpAddr::V6(address) => {
                let mask = ipv6_mask(self.prefix);
                let first = u128::from(address) & mask;
                (Ipv6Addr::from(first).into(), Ipv6Addr::from(first | !mask).into())
            }
        }
    }

    /// Tells whether an address is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        let (first, last) = self.range();
        // Addresses of different families are never between each other.
        first.is_ipv4() == address.is_ipv4() && (first..=last).contains(&address)
    }

    /// Returns the address that is so many behind the first one, if it is in the network.
    pub fn nth(self, offset: u32) -> Option<IpAddr> {
        let address = match self.range().0 {
            IpAddr::V4(first) => IpAddr::V4(u32::from(first).checked_add(offset)?.into()),
            IpAddr::V6(first) => IpAddr::V6(u128::from(first).checked_add(offset.into())?.into()),
        };
        self.contains(address).then_some(address)
    }

    /// Returns the first and the last IPv4 address of the network; `None` with IPv6.
    pub fn ipv4_range(self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        match self.range() {
            (IpAddr::V4(first), IpAddr::V4(last)) => Some((first, last)),
            _ => None,
        }
    }

    /// Tells whether two networks have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.range().0) || other.contains(self.range().0)
    }
}

/// Returns the mask that belongs to a prefix of at most 32 bits.
fn ipv4_mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

/// Returns the mask that belongs to a prefix of at most 128 bits.
fn ipv6_mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

impl Cidr {
    /// Returns the network that begins and ends with these addresses, or with those beside them that hosts
    /// do not have; `None` if there is none.
    pub fn spanning(first: IpAddr, last: IpAddr) -> Option<Self> {
        let bits = if first.is_ipv4() { 32 } else { 128 };
        (0..=bits).rev().find_map(|prefix| {
            let network = Self::new(first, prefix)?;
            (network.range() == (first, last)).then_some(network)
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split_once('/')
            .and_then(|(address, prefix)| {
                Self::new(address.parse::<IpAddr>().ok()?, prefix.parse().ok()?)
            })
            .ok_or_else(|| {
                Error::new(Kind::Invalid, format!("invalid network address `{text}`"))
                    .hint("write ADDRESS/PREFIX, as in 10.88.0.0/16")
            })
    }
}

impl TryFrom<String> for Cidr {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_writes() {
        for (text, good) in [
            ("10.88.0.2/16", true),
            ("0.0.0.0/0", true),
            ("fd00::1/64", true),
            ("10.88.0.2", false),
            ("10.88.0.2/33", false),
            ("fd00::1/129", false),
            ("10.88.0/16", false),
            ("/", false),
        ] {
            let parsed = text.parse::<Cidr>();
            assert_eq!(parsed.is_ok(), good, "{text}");
            if let Ok(cidr) = parsed {
                assert_eq!(cidr.to_string(), text);
            }
        }
    }

    #[test]
    fn counts_addresses() {
        for (network, offset, want) in [
            ("10.88.3.4/16", 1, Some("10.88.0.1")),
            ("10.88.3.4/30", 3, Some("10.88.3.7")),
            ("10.88.3.4/30", 4, None),
            ("255.255.255.255/32", 1, None),
            ("fd00::5/64", 2, Some("fd00::2")),
            ("fd00::5/128", 1, None),
        ] {
            let network: Cidr = network.parse().unwrap();
            let got = network.nth(offset).map(|address| address.to_string());
            assert_eq!(got.as_deref(), want, "{network} {offset}");
        }
    }

    #[test]
    fn compares_ranges() {
        for (one, other, want) in [
            ("10.88.0.0/16", "10.88.3.4/32", true),
            ("10.88.0.0/16", "10.89.0.0/16", false),
            ("10.88.0.0/16", "10.0.0.0/8", true),
            ("10.88.0.0/16", "0.0.0.0/0", true),
            ("10.88.0.0/24", "10.88.1.0/24", false),
            ("10.88.0.0/24", "fd00::/8", false),
            ("0.0.0.0/0", "::/0", false),
            ("fd00::/8", "fd12:3456::/64", true),
            ("fd12:3456::/64", "fd12:3457::/64", false),
        ] {
            let parse = |text: &str| text.parse::<Cidr>().unwrap();
            assert_eq!(parse(one).overlaps(parse(other)), want, "{one} {other}");
            assert_eq!(parse(other).overlaps(parse(one)), want, "{other} {one}");
        }
    }
}
