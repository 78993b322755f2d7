//! A container's place on a network, as Docker's clients ask for it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::spec::membership::{Membership, parse_alias};

/// What is asked for, as in Docker's `EndpointSettings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct EndpointSettings {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<Addresses>,
    /// Names by which others on the network know it.
    pub(super) aliases: Option<Vec<String>>,
    /// Its hardware address.
    pub(super) mac_address: Option<String>,
    /// Other containers, by names of its own: `CONTAINER[:NAME]`.
    pub(super) links: Option<Vec<String>>,
    /// What the driver is told.
    pub(super) driver_opts: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Addresses {
    #[serde(rename = "IPv4Address")]
    ipv4: Option<String>,
    #[serde(rename = "IPv6Address")]
    ipv6: Option<String>,
}

/// Decodes a container's place on a network.
pub(super) fn membership(network: &str, settings: &EndpointSettings) -> Result<Membership> {
    let addresses = settings.ipam_config.clone().unwrap_or_default();
    let mac = settings.mac_address.as_deref().filter(|mac| !mac.is_empty());
    let aliases = settings.aliases.iter().flatten();
    let links = settings.links.iter().flatten();
    Ok(Membership {
        // Clients send back what they were shown, which Docker does not find at fault.
        aliases: aliases.map(|alias| parse_alias(alias)).collect::<Result<_>>()?,
        links: links.map(|link| link.parse()).collect::<Result<_>>()?,
        ipv4: address(addresses.ipv4.as_deref())?,
        ipv6: address(addresses.ipv6.as_deref())?,
        mac: mac.map(str::parse).transpose()?,
        ..Membership::of(network)
    })
}

fn address<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>> {
    let given = text.filter(|text| !text.is_empty());
    let parse = |text: &str| {
        text.parse().map_err(|_| Error::new(Kind::Invalid, format!("invalid IP address `{text}`")))
    };
    given.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_clients_send() {
        let decode = |text: &str| membership("front", &serde_json::from_str(text).unwrap());
        let found = decode(
            r#"{"IPAMConfig":{"IPv4Address":"10.1.0.9","IPv6Address":""},"Links":null,
                "Aliases":["db"],"MacAddress":"02:42:0a:01:00:09","NetworkID":"","DriverOpts":null}"#,
        )
        .unwrap();
        assert_eq!(found.network, "front");
        assert_eq!(found.ipv4.map(|it| it.to_string()).as_deref(), Some("10.1.0.9"));
        assert_eq!((found.ipv6, found.aliases), (None, vec!["db".to_owned()]));
        assert!(found.mac.is_some());
        assert!(decode("{}").is_ok());
        assert!(decode(r#"{"IPAMConfig":{"IPv4Address":"x"}}"#).is_err());
    }
}
