//! A container's place on a network, as Docker's clients ask for it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::spec::membership::{
    DEFAULT_ALIAS, DEFAULT_NETWORK, INTERFACE_OPTION, Membership, parse_alias, parse_interface,
};

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
    /// Which network leads out of the container: that with the highest number.
    gw_priority: Option<i64>,
}

impl EndpointSettings {
    /// Tells whether anything is asked for, and not only a network named.
    pub(super) fn says_something(&self) -> bool {
        let is_given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|it| !it.is_empty());
        self.ipam_config.is_some()
            || is_given(&self.aliases)
            || is_given(&self.links)
            || self.mac_address.as_deref().is_some_and(|mac| !mac.is_empty())
            || self.driver_opts.as_ref().is_some_and(|options| !options.is_empty())
            || self.gw_priority.unwrap_or_default() != 0
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Addresses {
    #[serde(rename = "IPv4Address")]
    ipv4: Option<String>,
    #[serde(rename = "IPv6Address")]
    ipv6: Option<String>,
    #[serde(rename = "LinkLocalIPs")]
    link_local: Option<Vec<String>>,
}

/// Decodes a container's place on a network.
pub(super) fn membership(network: &str, settings: &EndpointSettings) -> Result<Membership> {
    let addresses = settings.ipam_config.clone().unwrap_or_default();
    let mac = settings.mac_address.as_deref().filter(|mac| !mac.is_empty());
    let aliases = settings.aliases.iter().flatten();
    let links = settings.links.iter().flatten();
    if addresses.link_local.is_some_and(|list| !list.is_empty()) {
        let text = "a container has one address of each version of IP on a network";
        return Err(Error::new(Kind::Unsupported, text).hint("leave LinkLocalIPs out"));
    }
    let network = if network == DEFAULT_ALIAS { DEFAULT_NETWORK } else { network };
    let interface = settings.driver_opts.as_ref().and_then(|options| options.get(INTERFACE_OPTION));
    Ok(Membership {
        // Clients send back what they were shown, which Docker does not find at fault.
        aliases: aliases.map(|alias| parse_alias(alias)).collect::<Result<_>>()?,
        links: links.map(|link| link.parse()).collect::<Result<_>>()?,
        ipv4: address(addresses.ipv4.as_deref())?,
        ipv6: address(addresses.ipv6.as_deref())?,
        mac: mac.map(str::parse).transpose()?,
        interface: interface.map(|name| parse_interface(name)).transpose()?,
        priority: settings.gw_priority.unwrap_or_default(),
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
        assert_eq!(decode(r#"{"GwPriority":-1}"#).unwrap().priority, -1);
        assert!(decode(r#"{"IPAMConfig":{"IPv4Address":"x"}}"#).is_err());
        assert!(decode(r#"{"IPAMConfig":{"LinkLocalIPs":["169.254.0.1"]}}"#).is_err());
        let named = r#"{"DriverOpts":{"com.docker.network.endpoint.ifname":"lan0"}}"#;
        assert_eq!(decode(named).unwrap().interface.as_deref(), Some("lan0"));
    }
}
