//! A container, as the REST API shows it: Docker's words where those of `inspect` are Podman's.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::container::{self, command};
use super::mounts;
use super::network::{names_of, published};
use super::rest::network::{self, BUILT_IN, endpoint_id};
use super::status::docker_status;
use super::versions;
use crate::engine::ContainerSize;
use crate::error::Result;
use crate::spec::membership::{DEFAULT_ALIAS, DEFAULT_NETWORK};
use crate::spec::network::NetworkMode;
use crate::spec::time;
use crate::store::Store;
use crate::store::container::{Container, ContainerConfig, Status};

/// The variable by which programs know that they are in a container.
const OURS: &str = "container=barge";

/// Makes the document of `GET /containers/{id}/json`.
pub fn inspect(
    store: &Store,
    found: &Container,
    size: Option<ContainerSize>,
    ids: &NetworkIds,
    minor: u16,
) -> Value {
    let mut document = container::inspect(store, found);
    let Container { config, state, .. } = found;
    document["Created"] = json!(time::rfc3339(config.created));
    document["Name"] = json!(format!("/{}", state.name));
    document["Image"] = json!(image_id(config));
    if document["ExecIDs"].as_array().is_some_and(Vec::is_empty) {
        document["ExecIDs"] = Value::Null;
    }
    let status = &mut document["State"];
    status["Status"] = json!(word(found));
    status["Running"] = json!(matches!(state.status, Status::Running(_) | Status::Restarting(_)));
    if status["Health"].is_null()
        && let Value::Object(status) = status
    {
        status.shift_remove("Health");
    }
    let shown = &mut document["Config"];
    shown["Image"] = json!(image_name(config));
    // Ours is a number; a client in Go wants it so, too, but only where it was asked for.
    if config.settings.stop_timeout.is_none()
        && let Value::Object(shown) = shown
    {
        shown.shift_remove("StopTimeout");
    }
    if shown["Healthcheck"].is_null()
        && let Value::Object(shown) = shown
    {
        shown.shift_remove("Healthcheck");
    }
    // What each container has anyway, and would be wrong in another that is made like this one.
    let hostname = format!("HOSTNAME={}", shown["Hostname"].as_str().unwrap_or_default());
    if let Value::Array(list) = &mut shown["Env"] {
        list.retain(|entry| *entry != hostname.as_str() && *entry != OURS);
    }
    let host = &mut document["HostConfig"];
    let (by_fields, others): (Vec<_>, Vec<_>) =
        config.settings.mounts.iter().partition(|mount| mount.by_fields);
    host["Binds"] = mounts::binds(others.iter().copied());
    host["Tmpfs"] = mounts::tmpfs(others.into_iter());
    // What Docker does not know is among those that it shows of the container itself.
    let by_fields: Vec<Value> =
        by_fields.into_iter().filter_map(|it| mounts::mount(it).ok()).collect();
    if !by_fields.is_empty() {
        host["Mounts"] = by_fields.into();
    }
    if config.settings.resources.pids.is_none() {
        host["PidsLimit"] = Value::Null;
    }
    host["NetworkMode"] = json!(network_mode(config));
    if host["RestartPolicy"]["Name"] == "" {
        host["RestartPolicy"]["Name"] = json!("no");
    }
    for field in ["Binds", "CapAdd", "CapDrop", "ExtraHosts", "SecurityOpt", "GroupAdd"] {
        if host[field].as_array().is_some_and(Vec::is_empty) {
            host[field] = Value::Null;
        }
    }
    // Docker's log of its own kind is what clients look for before they read a log.
    if host["LogConfig"]["Type"] == "k8s-file" {
        host["LogConfig"]["Type"] = json!("json-file");
    }
    host["Init"] = if config.settings.init { json!(true) } else { Value::Null };
    host["PidMode"] = private_is_empty(&host["PidMode"]);
    host["UTSMode"] = private_is_empty(&host["UTSMode"]);
    host["UsernsMode"] = match host["UsernsMode"].as_str() {
        Some("host") => json!(""),
        _ => host["UsernsMode"].clone(),
    };
    // Podman's.
    if let Value::Object(log) = &mut host["LogConfig"] {
        log.shift_remove("Path");
    }
    ids.fit(&mut document["NetworkSettings"], found);
    versions::container(&mut document, config, minor);
    if let Some(size) = size {
        document["SizeRw"] = json!(size.own);
        document["SizeRootFs"] = json!(size.all);
    }
    document
}

fn private_is_empty(mode: &Value) -> Value {
    if mode == "private" { json!("") } else { mode.clone() }
}

/// The IDs of all networks, by which clients know those of a container.
#[derive(Clone, Debug, Default)]
pub struct NetworkIds(BTreeMap<String, String>);

impl NetworkIds {
    /// Finds them.
    pub fn of(store: &Store) -> Result<Self> {
        let own = store.networks().list()?.into_iter().map(|network| (network.name, network.id));
        let built_in = BUILT_IN.into_iter().map(|it| (it.name.to_owned(), it.id()));
        Ok(Self(built_in.chain(own).collect()))
    }

    /// Names the networks of a container as Docker does, and tells their IDs and those of its places on
    /// them, as they are told of the networks.
    fn fit(&self, settings: &mut Value, found: &Container) {
        let Some(Value::Object(networks)) = settings.get_mut("Networks") else { return };
        let runs = found.state.process().is_some();
        let fitted = |(name, mut network): (String, Value)| {
            if let Some(id) = self.0.get(&name) {
                network["NetworkID"] = json!(id);
                // Only on networks that users have made, others know it by its ID.
                if [DEFAULT_NETWORK, "host", "none"].contains(&&*name)
                    && network["Aliases"] == json!([found.id().short()])
                {
                    network["Aliases"] = Value::Null;
                }
                if runs {
                    network["EndpointID"] = json!(endpoint_id(id, found.id().as_str()));
                }
            }
            (network::name(&name).to_owned(), network)
        };
        *networks = std::mem::take(networks).into_iter().map(fitted).collect::<Map<_, _>>();
    }
}

/// The network mode as Docker has it.
fn network_mode(config: &ContainerConfig) -> String {
    match &config.settings.network {
        NetworkMode::Default | NetworkMode::Pasta(_) => DEFAULT_ALIAS.to_owned(),
        NetworkMode::Networks(members) => match members.first().map(|it| it.network.as_str()) {
            None | Some(DEFAULT_NETWORK) => DEFAULT_ALIAS.to_owned(),
            Some(name) => name.to_owned(),
        },
        mode => mode.to_string(),
    }
}

/// The ID of the image, with its algorithm.
pub fn image_id(config: &ContainerConfig) -> String {
    match config.image_hex() {
        "" => String::new(),
        hex => format!("sha256:{hex}"),
    }
}

/// The image's name as the client wrote it, or as Docker's users know it.
pub fn image_name(config: &ContainerConfig) -> &str {
    match &config.settings.image_as_asked {
        Some(name) => name,
        None => familiar(&config.image),
    }
}

/// Leaves out what Docker's users do not write: the usual registry.
pub fn familiar(name: &str) -> &str {
    let short = name.strip_prefix("docker.io/library/").or_else(|| name.strip_prefix("docker.io/"));
    short.unwrap_or(name)
}

/// Docker's word for where a container is in its life.
pub fn word(found: &Container) -> &'static str {
    match &found.state.status {
        Status::Initialized(_) => "created",
        Status::Running(run) if run.paused => "paused",
        Status::Running(_) => "running",
        _ => found.state.word(),
    }
}

/// Makes the document of one container in `GET /containers/json`.
pub fn summary(
    store: &Store,
    found: &Container,
    now: i64,
    size: Option<ContainerSize>,
    ids: &NetworkIds,
    minor: u16,
) -> Value {
    let Container { config, state, .. } = found;
    let mut networks = json!({ "Networks": container::networks(found) });
    ids.fit(&mut networks, found);
    versions::networks(&mut networks, config, minor);
    let ports = published(state);
    let mut shown: Vec<Value> = ports
        .iter()
        .map(|port| {
            json!({
                "IP": port.host_ip,
                "PrivatePort": port.container_port,
                "PublicPort": port.host_port,
                "Type": port.protocol,
            })
        })
        .collect();
    if state.run().is_some() {
        for exposed in &config.exposed_ports {
            let (number, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
            let inside = |port: &crate::net::PublishedPort| {
                port.container_port.to_string() == number && port.protocol.to_string() == protocol
            };
            if !ports.iter().any(inside) {
                let number: u16 = number.parse().unwrap_or_default();
                shown.push(json!({ "PrivatePort": number, "Type": protocol }));
            }
        }
    }
    let mut document = json!({
        "Id": config.id,
        "Names": [format!("/{}", state.name)],
        "Image": image_name(config),
        "ImageID": image_id(config),
        "Command": words(config),
        "Created": config.created / 1_000_000_000,
        "Ports": shown,
        "Labels": config.labels,
        "State": word(found),
        "Status": docker_status(found, now),
        "HostConfig": host_summary(config),
        "NetworkSettings": networks,
        "Mounts": container::mounts(store, config),
    });
    if let Some(health) = &found.health {
        document["Health"] = json!({
            "Status": health.status.as_str(),
            "FailingStreak": health.failing_streak,
        });
    }
    if let Some(size) = size {
        document["SizeRw"] = json!(size.own);
        document["SizeRootFs"] = json!(size.all);
    }
    document
}

/// What a list says of how a container is run.
fn host_summary(config: &ContainerConfig) -> Value {
    let mut document = json!({ "NetworkMode": network_mode(config) });
    if !config.settings.annotations.is_empty() {
        document["Annotations"] = json!(config.settings.annotations);
    }
    document
}

/// Writes what is run as Docker does: words with spaces in quotes.
fn words(config: &ContainerConfig) -> String {
    let mut all: Vec<String> = config.entrypoint.clone().unwrap_or_default();
    all.extend(command(config).into_iter().map(str::to_owned));
    let quoted = |word: String| match word.contains(' ') {
        true => format!("'{word}'"),
        false => word,
    };
    all.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Names the networks of a container in Docker's words.
pub fn networks(found: &Container) -> Vec<String> {
    let renamed =
        |name: String| if name == DEFAULT_NETWORK { DEFAULT_ALIAS.to_owned() } else { name };
    names_of(found).into_iter().map(renamed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_images_as_users_of_docker_do() {
        for (name, want) in [
            ("docker.io/library/alpine:latest", "alpine:latest"),
            ("docker.io/grafana/loki:3", "grafana/loki:3"),
            ("quay.io/a/b:1", "quay.io/a/b:1"),
            ("localhost/x:latest", "localhost/x:latest"),
        ] {
            assert_eq!(familiar(name), want);
        }
    }
}
