//! What network a container is on, as Docker's `NetworkSettings` shows it.

use serde_json::{Map, Value, json};

use crate::spec::network::NetworkMode;
use crate::store::container::{ContainerConfig, ContainerState};

/// Makes the document.
pub(super) fn document(config: &ContainerConfig, state: &ContainerState) -> Value {
    let endpoint = state.run().and(state.network.as_ref()).unwrap_or(&Value::Null);
    let text = |name: &str| endpoint[name].as_str().unwrap_or_default();
    let address = endpoint["addresses"].get(0).and_then(Value::as_str).unwrap_or_default();
    let (address, prefix) = address.split_once('/').unwrap_or((address, "0"));
    let prefix: u8 = prefix.parse().unwrap_or_default();
    let mut networks = Map::new();
    let mode = &config.settings.network;
    let name = match mode {
        NetworkMode::Container(_) | NetworkMode::Ns(_) => None,
        _ if !text("network").is_empty() => Some(text("network").to_owned()),
        NetworkMode::Default => None,
        mode => Some(mode.to_string()),
    };
    if let Some(name) = name {
        let entry = json!({
            "NetworkID": name,
            "EndpointID": "",
            "Gateway": text("gateway"),
            "IPAddress": address,
            "IPPrefixLen": prefix,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "MacAddress": text("mac"),
            "Aliases": [config.id.short()],
            "DriverOpts": null,
        });
        networks.insert(name, entry);
    }
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": state.run().map(|run| format!("/proc/{}/ns/net", run.pid)).unwrap_or_default(),
        "Ports": ports(config, state),
        "EndpointID": "",
        "Gateway": text("gateway"),
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": address,
        "IPPrefixLen": prefix,
        "IPv6Gateway": "",
        "MacAddress": text("mac"),
        "Networks": networks,
    })
}

/// Lists exposed ports, each with where it is published or null.
fn ports(config: &ContainerConfig, state: &ContainerState) -> Map<String, Value> {
    let mut ports: Map<String, Value> =
        config.exposed_ports.iter().map(|port| (port.clone(), Value::Null)).collect();
    for port in published(state) {
        let binding = json!({
            "HostIp": if port.host_ip.is_empty() { "0.0.0.0" } else { &port.host_ip },
            "HostPort": port.host_port.to_string(),
        });
        let inside = format!("{}/{}", port.container_port, port.protocol);
        match ports.entry(inside).or_insert(Value::Null) {
            Value::Array(list) => list.push(binding),
            other => *other = json!([binding]),
        }
    }
    ports
}

/// A port that is published now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// Address on the host; empty is all of them.
    pub host_ip: String,
    /// Port on the host.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// Transport protocol in lower case.
    pub protocol: String,
}

/// Lists what a running container publishes.
pub fn published(state: &ContainerState) -> Vec<Published> {
    let list =
        state.run().and(state.network.as_ref()).and_then(|endpoint| endpoint["ports"].as_array());
    let port = |entry: &Value| {
        Some(Published {
            host_ip: entry["host_ip"].as_str().unwrap_or_default().to_owned(),
            host_port: u16::try_from(entry["host_port"].as_u64()?).ok()?,
            container_port: u16::try_from(entry["container_port"].as_u64()?).ok()?,
            protocol: entry["protocol"].as_str()?.to_owned(),
        })
    };
    list.into_iter().flatten().filter_map(port).collect()
}
