//! Networks, as Docker's REST API shows them: with `bridge`, `host` and `none`, which are always there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::NEVER;
use crate::engine::networks::NetworkUse;
use crate::spec::cidr::Cidr;
use crate::spec::membership::DEFAULT_ALIAS;
use crate::spec::network_spec::{Ipam, NetworkSpec, Subnet};
use crate::spec::time;
use crate::store::blob::digest_of;
use crate::store::container::Container;

/// A network that every machine has and that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// What Docker calls its driver.
    pub driver: &'static str,
}

/// The networks besides the default one that every machine has.
pub const BUILT_IN: [BuiltIn; 2] =
    [BuiltIn { name: "host", driver: "host" }, BuiltIn { name: "none", driver: "null" }];

impl BuiltIn {
    /// Returns its ID, the same everywhere.
    pub fn id(self) -> String {
        digest_of(format!("network {}", self.name).as_bytes()).hex().to_owned()
    }
}

/// Returns the name that Docker's clients know a network by.
pub fn name(name: &str) -> &str {
    if name == crate::spec::membership::DEFAULT_NETWORK { DEFAULT_ALIAS } else { name }
}

/// Returns the ID of a container's place on a network.
pub fn endpoint_id(network: &str, container: &str) -> String {
    digest_of(format!("{network} {container}").as_bytes()).hex().to_owned()
}

/// Makes the document of a network. Lists do not say who is on it.
pub fn document(found: &NetworkUse, with_users: bool) -> Value {
    let NetworkUse { network, .. } = found;
    let spec = &network.spec;
    let mut options: Map<String, Value> =
        spec.options.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    if network.is_default() {
        options.extend(default_options(&network.interface));
    }
    let mut containers = Map::new();
    if with_users {
        for (container, connection) in found.connections() {
            let id = container.id().as_str();
            let address = |ipv4| {
                connection
                    .address(ipv4)
                    .map(|address: Cidr| address.to_string())
                    .unwrap_or_default()
            };
            containers.insert(
                id.to_owned(),
                json!({
                    "Name": container.state.name,
                    "EndpointID": endpoint_id(&network.id, id),
                    "MacAddress": connection.mac.as_deref().unwrap_or_default(),
                    "IPv4Address": address(true),
                    "IPv6Address": address(false),
                }),
            );
        }
    }
    json!({
        "Name": name(&network.name),
        "Id": network.id,
        "Created": if network.created == 0 { NEVER.to_owned() } else { time::rfc3339_short(network.created) },
        "Scope": "local",
        "Driver": spec.driver.as_str(),
        "EnableIPv4": true,
        "EnableIPv6": spec.ipv6,
        "IPAM": {
            "Driver": if spec.ipam == Ipam::None { "null" } else { "default" },
            "Options": if network.is_default() { Value::Null } else { json!({}) },
            "Config": spec.subnets.iter().map(|it| subnet(it, spec)).collect::<Vec<_>>(),
        },
        "Internal": spec.internal,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": options,
        "Labels": spec.labels,
    })
}

/// Says how many addresses of a network's subnets are taken, and how many more can be leased.
pub fn status(found: &NetworkUse) -> Value {
    let connections = found.connections();
    let mut subnets = Map::new();
    for subnet in &found.network.spec.subnets {
        let (first, last) = subnet.subnet.range();
        let users = connections.iter().flat_map(|(_, connection)| &connection.addresses);
        let mut taken: BTreeSet<IpAddr> = users.map(|address| address.address()).collect();
        taken.extend(subnet.gateway);
        taken.extend(found.network.spec.reserved.values());
        taken.insert(first);
        if last.is_ipv4() {
            // The one that reaches all.
            taken.insert(last);
        }
        taken.retain(|address| subnet.subnet.contains(*address));
        let (from, to) = subnet.range.unwrap_or((first, last));
        let gone = taken.range(from..=to).count() as u128;
        let free = (number(to) - number(from)).saturating_add(1).saturating_sub(gone);
        subnets.insert(
            subnet.subnet.to_string(),
            json!({
                "IPsInUse": taken.len(),
                "DynamicIPsAvailable": u64::try_from(free).unwrap_or(u64::MAX),
            }),
        );
    }
    json!({ "IPAM": { "Subnets": subnets } })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Makes the document of a network that every machine has; `users` are the containers that run on it.
pub fn built_in(network: BuiltIn, users: &[&Container]) -> Value {
    let own = network.id();
    let containers: Map<String, Value> = users
        .iter()
        .map(|container| {
            let id = container.id().as_str();
            let place = json!({
                "Name": container.state.name,
                "EndpointID": endpoint_id(&own, id),
                "MacAddress": "",
                "IPv4Address": "",
                "IPv6Address": "",
            });
            (id.to_owned(), place)
        })
        .collect();
    json!({
        "Name": network.name,
        "Id": own,
        "Created": NEVER,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": null },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": {},
        "Labels": {},
    })
}

fn default_options(interface: &str) -> Map<String, Value> {
    let options = [
        ("com.docker.network.bridge.default_bridge", "true"),
        ("com.docker.network.bridge.enable_icc", "true"),
        ("com.docker.network.bridge.enable_ip_masquerade", "true"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.name", interface),
        ("com.docker.network.driver.mtu", "1500"),
    ];
    options.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// Makes what there is to tell of a subnet of a network.
pub(in crate::api::model) fn subnet(subnet: &Subnet, spec: &NetworkSpec) -> Value {
    let mut document = json!({ "Subnet": subnet.subnet });
    if let Some((first, last)) = subnet.range {
        // Docker's ranges are networks; one that is none cannot have been made by its clients.
        let range = (subnet.subnet.prefix()..=128).find_map(|prefix| {
            let range: Cidr = format!("{first}/{prefix}").parse().ok()?;
            (range.range() == (first, last)).then(|| range.to_string())
        });
        document["IPRange"] = range.unwrap_or_else(|| format!("{first}-{last}")).into();
    }
    if let Some(gateway) = subnet.gateway {
        document["Gateway"] = json!(gateway);
    }
    let reserved = spec.reserved.iter().filter(|it| subnet.subnet.contains(*it.1));
    let reserved: BTreeMap<_, _> = reserved.collect();
    if !reserved.is_empty() {
        document["AuxiliaryAddresses"] = json!(reserved);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::network_spec::NetworkSpec;
    use crate::store::network::Network;

    #[test]
    fn shows_what_was_asked_for() {
        let mut spec = NetworkSpec::default();
        let range = "10.7.0.128/25".parse().unwrap();
        spec.add_subnets(&["10.7.0.0/24".parse().unwrap()], &[], &[range]).unwrap();
        spec.options.insert("parent".to_owned(), "eth0".to_owned());
        let network = Network {
            id: "ab".repeat(32),
            name: "front".to_owned(),
            created: 1_700_000_000_000_000_000,
            interface: "barge1".to_owned(),
            spec,
        };
        let found = NetworkUse { network, users: Vec::new() };
        let shown = document(&found, true);
        let counts = json!({ "IPsInUse": 2, "DynamicIPsAvailable": 127 });
        assert_eq!(status(&found)["IPAM"]["Subnets"]["10.7.0.0/24"], counts);
        assert_eq!(
            shown["IPAM"]["Config"],
            json!([{ "Subnet": "10.7.0.0/24", "IPRange": "10.7.0.128/25" }])
        );
        assert_eq!(shown["Options"], json!({ "parent": "eth0" }));
        assert_eq!(shown["Created"], "2023-11-14T22:13:20Z");
        assert_eq!((&shown["Driver"], &shown["Scope"]), (&json!("bridge"), &json!("local")));
    }

    #[test]
    fn ids_are_ids() {
        for network in BUILT_IN {
            assert_eq!(network.id().len(), 64, "{}", network.name);
        }
        assert_eq!(endpoint_id("a", "b").len(), 64);
        assert_ne!(endpoint_id("a", "b"), endpoint_id("b", "a"));
    }
}
