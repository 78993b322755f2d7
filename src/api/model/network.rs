//! What network a container is on, as Docker's `NetworkSettings` shows it.

use serde_json::{Map, Value, json};

use crate::net::{Endpoint, PublishedPort};
use crate::spec::network::NetworkMode;
use crate::store::container::{Container, ContainerConfig, ContainerState};

/// Makes the document.
pub(super) fn document(config: &ContainerConfig, state: &ContainerState) -> Value {
    let endpoint = endpoint(state).unwrap_or_default();
    let address = endpoint.addresses.iter().find(|it| it.address().is_ipv4());
    let address6 = endpoint.addresses.iter().find(|it| it.address().is_ipv6());
    let text =
        |address: Option<std::net::IpAddr>| address.map(|it| it.to_string()).unwrap_or_default();
    let gateway = text(endpoint.gateway);
    let common = json!({
        "EndpointID": "",
        "Gateway": gateway,
        "GlobalIPv6Address": text(address6.map(|it| it.address())),
        "GlobalIPv6PrefixLen": address6.map_or(0, |it| it.prefix()),
        "IPAddress": text(address.map(|it| it.address())),
        "IPPrefixLen": address.map_or(0, |it| it.prefix()),
        "IPv6Gateway": "",
        "MacAddress": endpoint.mac.as_deref().unwrap_or_default(),
    });
    let mut networks = Map::new();
    if let Some(name) = name(config, &endpoint) {
        let mut network = common.clone();
        network["NetworkID"] = name.clone().into();
        network["Aliases"] = json!([config.id.short()]);
        networks.insert(name, network);
    }
    let sandbox =
        state.process().map(|run| format!("/proc/{}/ns/net", run.pid)).unwrap_or_default();
    let mut document = json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": sandbox,
        "Ports": ports(config, &endpoint.ports),
    });
    if let (Value::Object(all), Value::Object(common)) = (&mut document, common) {
        all.extend(common);
        all.insert("Networks".to_owned(), networks.into());
    }
    document
}

/// Reads the endpoint of a container that has a process.
fn endpoint(state: &ContainerState) -> Option<Endpoint> {
    let recorded = state.process().and(state.network.as_ref())?;
    serde_json::from_value(recorded.clone()).ok()
}

fn name(config: &ContainerConfig, endpoint: &Endpoint) -> Option<String> {
    match &config.settings.network {
        NetworkMode::Container(_) | NetworkMode::Ns(_) => None,
        _ if !endpoint.network.is_empty() => Some(endpoint.network.clone()),
        NetworkMode::Default => None,
        mode => Some(mode.to_string()),
    }
}

/// Returns the name of the network that a container is on, or how it asked for one.
pub fn name_of(container: &Container) -> String {
    let endpoint = endpoint(&container.state).unwrap_or_default();
    name(&container.config, &endpoint)
        .unwrap_or_else(|| container.config.settings.network.to_string())
}

/// Lists exposed ports, each with where it is published or null.
fn ports(config: &ContainerConfig, published: &[PublishedPort]) -> Map<String, Value> {
    let mut ports: Map<String, Value> =
        config.exposed_ports.iter().map(|port| (port.clone(), Value::Null)).collect();
    for port in published {
        let binding = json!({
            "HostIp": port.host_ip,
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

/// Lists what a running container publishes.
pub fn published(state: &ContainerState) -> Vec<PublishedPort> {
    endpoint(state).map(|endpoint| endpoint.ports).unwrap_or_default()
}
