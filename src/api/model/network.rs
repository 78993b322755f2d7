//! What network a container is on, as Docker's `NetworkSettings` shows it.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::asked;
use crate::net::{Connection, Endpoint, PublishedPort};
use crate::spec::cidr::Cidr;
use crate::spec::membership::{Link, Membership};
use crate::spec::network::NetworkMode;
use crate::store::container::{Container, ContainerConfig, ContainerState};

/// Makes the document.
pub(super) fn document(config: &ContainerConfig, state: &ContainerState) -> Value {
    let endpoint = endpoint(state).unwrap_or_default();
    let common = connection_document(&endpoint.connections.first().cloned().unwrap_or_default());
    let mut networks = Map::new();
    for connection in &endpoint.connections {
        let mut network = connection_document(connection);
        network["NetworkID"] = connection.network.clone().into();
        network["Aliases"] = aliases(config, connection);
        network["Links"] = links(config, connection);
        add_asked(&mut network, config, &connection.network);
        networks.insert(connection.network.clone(), network);
    }
    // Of one that does not run, what it asked for.
    for member in config.settings.network.memberships() {
        networks.entry(member.network.clone()).or_insert_with(|| {
            let mut network = connection_document(&Connection::default());
            network["NetworkID"] = member.network.clone().into();
            network["Aliases"] = json!(member.aliases);
            add_asked(&mut network, config, &member.network);
            network
        });
    }
    if let mode @ (NetworkMode::Host
    | NetworkMode::None
    | NetworkMode::Pasta(_)
    | NetworkMode::Slirp4netns(_)) = &config.settings.network
    {
        networks.entry(mode.to_string()).or_insert_with(|| {
            let mut network = connection_document(&Connection::default());
            network["NetworkID"] = mode.to_string().into();
            network["Aliases"] = aliases(config, &Connection::default());
            network
        });
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

/// Makes the document of one connection.
fn connection_document(connection: &Connection) -> Value {
    let (ipv4, ipv6) = (connection.address(true), connection.address(false));
    let text = |address: Option<IpAddr>| address.map(|it| it.to_string()).unwrap_or_default();
    let gateway = |ipv4| connection.gateways.iter().copied().find(|it| it.is_ipv4() == ipv4);
    json!({
        "EndpointID": "",
        "Gateway": text(gateway(true)),
        "GlobalIPv6Address": text(ipv6.map(Cidr::address)),
        "GlobalIPv6PrefixLen": ipv6.map_or(0, Cidr::prefix),
        "IPAddress": text(ipv4.map(Cidr::address)),
        "IPPrefixLen": ipv4.map_or(0, Cidr::prefix),
        "IPv6Gateway": text(gateway(false)),
        "MacAddress": connection.mac.as_deref().unwrap_or_default(),
    })
}

/// Returns how a container has asked to be on a network.
fn member<'a>(config: &'a ContainerConfig, network: &str) -> Option<&'a Membership> {
    config.settings.network.memberships().iter().find(|member| member.network == network)
}

/// Adds what is shown as it was asked for.
fn add_asked(document: &mut Value, config: &ContainerConfig, network: &str) {
    let mut asked = member(config, network).map(asked::endpoint).unwrap_or_default();
    for name in ["IPAMConfig", "DriverOpts", "GwPriority"] {
        if let Some(value) = asked.get_mut(name) {
            document[name] = value.take();
        }
    }
}

/// Returns the names that the user gave the container on a network, and its short ID.
fn aliases(config: &ContainerConfig, connection: &Connection) -> Value {
    let own = member(config, &connection.network);
    let mut aliases = own.map(|member| member.aliases.clone()).unwrap_or_default();
    aliases.push(config.id.short().to_owned());
    aliases.into()
}

/// Returns what the container calls others on a network, where it has names of its own for them.
fn links(config: &ContainerConfig, connection: &Connection) -> Value {
    let own = member(config, &connection.network);
    let links = own.map(|member| &member.links).filter(|links| !links.is_empty());
    links.map_or(Value::Null, |links| links.iter().map(Link::to_string).collect())
}

/// Reads the endpoint of a container that has a process.
fn endpoint(state: &ContainerState) -> Option<Endpoint> {
    let recorded = state.process().and(state.network.as_ref())?;
    serde_json::from_value(recorded.clone()).ok()
}

/// Returns the names of the networks that a container is on, or how it asked for one.
pub fn names_of(container: &Container) -> Vec<String> {
    let settings = &container.config.settings;
    let of_run = || endpoint(&container.state).map(|it| it.network().to_owned());
    match &settings.network {
        NetworkMode::Networks(members) => {
            members.iter().map(|member| member.network.clone()).collect()
        }
        NetworkMode::Default => {
            vec![of_run().unwrap_or_else(|| settings.network.to_string())]
        }
        mode => vec![mode.to_string()],
    }
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
