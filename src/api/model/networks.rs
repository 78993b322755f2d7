//! A network, as Podman's `network inspect` shows it.

use serde_json::{Map, Value, json};

use super::rest;
use crate::engine::networks::NetworkUse;
use crate::spec::time;
use crate::store::volume::joined;

/// Makes the document that `inspect` shows.
pub fn inspect(found: &NetworkUse) -> Value {
    let NetworkUse { network, .. } = found;
    let spec = &network.spec;
    let subnets: Vec<Value> = spec
        .subnets
        .iter()
        .map(|it| {
            let mut subnet = json!({ "subnet": it.subnet });
            if let Some(gateway) = it.gateway {
                subnet["gateway"] = json!(gateway);
            }
            if let Some((first, last)) = it.range {
                subnet["lease_range"] = json!({ "start_ip": first, "end_ip": last });
            }
            subnet
        })
        .collect();
    let mut containers = Map::new();
    for (container, connection) in found.connections() {
        let addresses: Vec<Value> = connection
            .addresses
            .iter()
            .map(|it| json!({ "ipnet": it, "gateway": connection.gateway_like(it.address()) }))
            .collect();
        let interface = connection.interface.clone().unwrap_or_default();
        containers.insert(
            container.id().to_string(),
            json!({
                "name": container.state.name,
                "interfaces": {
                    interface: { "subnets": addresses, "mac_address": connection.mac },
                },
            }),
        );
    }
    let mut document = json!({
        "name": network.name,
        "id": network.id,
        "driver": spec.driver.as_str(),
        "network_interface": network.interface,
        "created": time::rfc3339(network.created),
        "subnets": subnets,
        "ipv6_enabled": spec.ipv6,
        "internal": spec.internal,
        "dns_enabled": spec.dns,
        "labels": spec.labels,
        "options": spec.options,
        "ipam_options": { "driver": spec.ipam.as_str() },
        "containers": containers,
    });
    if !spec.routes.is_empty() {
        document["routes"] = json!(spec.routes);
    }
    if !spec.servers.is_empty() {
        document["network_dns_servers"] = json!(spec.servers);
    }
    document
}

/// Makes what a template of `inspect` sees: by Podman's names in JSON, and by those in templates.
pub fn inspect_row(found: &NetworkUse) -> Value {
    let mut row = inspect(found);
    for (name, from) in [
        ("Name", "name"),
        ("ID", "id"),
        ("Id", "id"),
        ("Driver", "driver"),
        ("NetworkInterface", "network_interface"),
        ("Created", "created"),
        ("IPv6Enabled", "ipv6_enabled"),
        ("EnableIPv6", "ipv6_enabled"),
        ("Internal", "internal"),
        ("DNSEnabled", "dns_enabled"),
        ("NetworkDNSServers", "network_dns_servers"),
        ("Routes", "routes"),
        ("Labels", "labels"),
        ("Options", "options"),
    ] {
        row[name] = row[from].clone();
    }
    row["Containers"] = found.connections().iter().fold(
        row["containers"].clone(),
        |mut containers, (container, connection)| {
            // By Podman's names in templates, and by Docker's.
            let shown = &mut containers[container.id().as_str()];
            shown["Name"] = shown["name"].clone();
            shown["Interfaces"] = shown["interfaces"].clone();
            shown["MacAddress"] = json!(connection.mac.clone().unwrap_or_default());
            for (name, ipv4) in [("IPv4Address", true), ("IPv6Address", false)] {
                let address = connection.address(ipv4).map(|it| it.to_string());
                shown[name] = json!(address.unwrap_or_default());
            }
            containers
        },
    );
    row["IPAMOptions"] = row["ipam_options"].clone();
    let subnets: Vec<Value> = found
        .network
        .spec
        .subnets
        .iter()
        .map(|it| {
            let range = it.range.map(|(first, last)| json!({ "StartIP": first, "EndIP": last }));
            json!({ "Subnet": it.subnet, "Gateway": it.gateway, "LeaseRange": range })
        })
        .collect();
    // Docker's way to them.
    let spec = &found.network.spec;
    let config = spec.subnets.iter().zip(&subnets).map(|(it, subnet)| {
        let mut shown = rest::network::subnet(it, spec);
        shown["LeaseRange"] = subnet["LeaseRange"].clone();
        for (name, nothing) in
            [("IPRange", json!("")), ("Gateway", json!("")), ("AuxiliaryAddresses", json!({}))]
        {
            if shown[name].is_null() {
                shown[name] = nothing;
            }
        }
        shown
    });
    row["IPAM"] = json!({ "Driver": "default", "Config": config.collect::<Vec<_>>() });
    row["Subnets"] = subnets.into();
    row["Scope"] = "local".into();
    row
}

/// Makes what a template of `ls` sees.
pub fn row(found: &NetworkUse, no_trunc: bool) -> Value {
    let mut row = inspect_row(found);
    let id = &found.network.id;
    row["ID"] = if no_trunc { id.as_str() } else { &id[..id.len().min(12)] }.into();
    row["Labels"] = joined(&found.network.spec.labels).into();
    row["IPv6"] = row["IPv6Enabled"].clone();
    row["CreatedAt"] = row["Created"].clone();
    row
}
