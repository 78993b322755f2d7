//! Networks: `/networks/…`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::membership::{EndpointSettings, membership};
use super::model::rest::network::{self, BUILT_IN, BuiltIn};
use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use crate::engine::networks::{self, NewNetwork, check_filters, is_wanted};
use crate::engine::{Engine, RemoveOptions};
use crate::error::{Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::spec::filter::{self, Filter};
use crate::spec::membership::{DEFAULT_ALIAS, DEFAULT_NETWORK};
use crate::spec::network::NetworkMode;
use crate::spec::network_spec::{Driver, NetworkSpec, Range, Reserved};
use crate::store::container::Container;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/networks", How::Look(list)),
    route("POST", "/networks/create", How::Change(create)),
    route("POST", "/networks/prune", How::Change(prune)),
    route("GET", "/networks/{id}", How::Look(inspect)),
    route("DELETE", "/networks/{id}", How::Change(remove)),
    route("POST", "/networks/{id}/connect", How::Change(connect)),
    route("POST", "/networks/{id}/disconnect", How::Change(disconnect)),
];

/// What a network is to be.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Wanted {
    name: Option<String>,
    driver: Option<String>,
    scope: Option<String>,
    internal: bool,
    ingress: bool,
    config_only: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: Option<Ipam>,
    options: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Ipam {
    driver: Option<String>,
    config: Option<Vec<Pool>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Pool {
    subnet: Option<String>,
    #[serde(rename = "IPRange")]
    ip_range: Option<String>,
    gateway: Option<String>,
    auxiliary_addresses: Option<BTreeMap<String, String>>,
}

/// Which container is connected to a network, or not any more, and how.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Connection {
    container: String,
    endpoint_config: Option<EndpointSettings>,
    force: bool,
}

/// The first minor version in which a network is said to have more than a list of them tells.
const STATUS: u16 = 52;

fn list(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let mut filters = call.query.filters()?;
    check_filters(&filters)?;
    for filter in &mut filters {
        let is_alias = filter.key == "name" && filter.value == DEFAULT_ALIAS;
        if is_alias {
            DEFAULT_NETWORK.clone_into(&mut filter.value);
        }
    }
    let with_users = call.version.minor < 28;
    let mut all = Vec::new();
    for found in networks::list(engine)? {
        if is_wanted(&found, &filters)? {
            all.push(network::document(&found, with_users));
        }
    }
    let containers = engine.list()?;
    for built_in in BUILT_IN {
        let users = users_of(built_in, &containers);
        if is_built_in_wanted(built_in, &users, &filters)? {
            all.push(network::built_in(built_in, if with_users { &users } else { &[] }));
        }
    }
    if call.version.minor >= STATUS {
        // Until then there was an empty one.
        for network in &mut all {
            network.as_object_mut().map(|network| network.shift_remove("Containers"));
        }
    }
    Ok(Reply::json(&all))
}

/// Returns the containers that run on a network that every machine has.
fn users_of(network: BuiltIn, containers: &[Container]) -> Vec<&Container> {
    let is_user = |container: &&Container| {
        container.state.process().is_some()
            && match container.config.settings.network {
                NetworkMode::Host => network.name == "host",
                NetworkMode::None => network.name == "none",
                _ => false,
            }
    };
    containers.iter().filter(is_user).collect()
}

fn is_built_in_wanted(network: BuiltIn, users: &[&Container], filters: &[Filter]) -> Result<bool> {
    filter::passes(filters, |key, value| {
        Ok(match key {
            "driver" => value == network.driver,
            "id" => network.id().starts_with(value),
            "name" => filter::name_matches(network.name, value),
            "scope" => value == "local",
            "type" => value == "builtin",
            // What is always there is never left over.
            "dangling" => matches!(value, "false" | "0") && !users.is_empty(),
            _ => false,
        })
    })
}

/// Finds a network that every machine has, by its name, its ID or the beginning of that.
fn built_in(text: &str) -> Option<BuiltIn> {
    let is_it = |network: &&BuiltIn| {
        network.name == text || (text.len() >= 12 && network.id().starts_with(text))
    };
    BUILT_IN.iter().find(is_it).copied()
}

fn inspect(engine: &Engine, call: &mut Call) -> Result<Reply> {
    if let Some(found) = built_in(call.name()) {
        let containers = engine.list()?;
        return Ok(Reply::json(&network::built_in(found, &users_of(found, &containers))));
    }
    let found = networks::lookup(engine, call.name());
    let found = found.map_err(|error| unknown(call.name(), error))?;
    let mut document = network::document(&found, true);
    if call.version.minor >= STATUS {
        document["Status"] = network::status(&found);
    }
    Ok(Reply::json(&document))
}

fn unknown(name: &str, error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => Error::new(Kind::NotFound, format!("network {name} not found")),
        _ => error,
    }
}

fn create(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let wanted: Wanted = call.json()?;
    let name = wanted.name.clone().unwrap_or_default();
    let is_reserved = name == DEFAULT_ALIAS || name == DEFAULT_NETWORK || built_in(&name).is_some();
    if is_reserved {
        let text = format!("operation is not permitted on predefined {name} network");
        return Err(Error::new(Kind::Denied, text));
    }
    let spec = spec(wanted)?;
    let new = NewNetwork { name: Some(name.clone()), interface: None, ignore: false, spec };
    let made = engine.create_network(new).map_err(|error| match error.kind() {
        Kind::Conflict if engine.store().networks().get(&name).is_ok_and(|it| it.is_some()) => {
            Error::new(Kind::Conflict, format!("network with name {name} already exists"))
        }
        _ => error,
    })?;
    let id = engine.store().networks().lookup(&made)?.id;
    Ok(Reply::created(&json!({ "Id": id, "Warning": "" })))
}

/// Decodes what a network is to be.
#[cfg(any(fuzzing, test))]
pub(super) fn read(body: &[u8]) {
    drop(serde_json::from_slice(body).map(spec));
}

/// Decides what is asked for; returns what is not done of it, too.
fn spec(wanted: Wanted) -> Result<NetworkSpec> {
    if wanted.ingress || wanted.config_only || wanted.scope.as_deref() == Some("swarm") {
        let text = "This node is not a swarm manager: there are no networks for swarms";
        return Err(Error::new(Kind::Denied, text));
    }
    let driver = match wanted.driver.as_deref() {
        None | Some("" | "default") => Driver::Bridge,
        Some("overlay") => {
            return Err(Error::new(Kind::Denied, "This node is not a swarm manager"));
        }
        Some(driver) => driver.parse().map_err(|error: Error| {
            Error::new(Kind::NotFound, format!("plugin \"{driver}\" not found")).caused_by(error)
        })?,
    };
    let mut spec = NetworkSpec {
        driver,
        ipv6: wanted.enable_ipv6.unwrap_or(false),
        internal: wanted.internal,
        dns: true,
        labels: wanted.labels.unwrap_or_default(),
        ..NetworkSpec::default()
    };
    for (key, value) in wanted.options.unwrap_or_default() {
        spec.add_option(&format!("{key}={value}"))?;
    }
    let ipam = wanted.ipam.unwrap_or_default();
    spec.ipam = match ipam.driver.as_deref() {
        Some("null") => "none".parse()?,
        driver => driver.unwrap_or_default().parse()?,
    };
    let pools = ipam.config.unwrap_or_default();
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let subnets = pools.iter().filter_map(|pool| given(&pool.subnet));
    let subnets: Vec<Cidr> = subnets.map(|text| text.parse()).collect::<Result<_>>()?;
    let address = |text: String| {
        text.parse::<IpAddr>()
            .map_err(|_| Error::new(Kind::Invalid, format!("invalid gateway address `{text}`")))
    };
    let gateways = pools.iter().filter_map(|pool| given(&pool.gateway));
    let gateways: Vec<IpAddr> = gateways.map(address).collect::<Result<_>>()?;
    let ranges = pools.iter().filter_map(|pool| given(&pool.ip_range));
    let ranges: Vec<Range> = ranges.map(|text| text.parse()).collect::<Result<_>>()?;
    spec.add_subnets(&subnets, &gateways, &ranges)?;
    let reserved = pools.iter().filter_map(|pool| pool.auxiliary_addresses.as_ref()).flatten();
    let reserved = reserved.map(|(name, address)| format!("{name}={address}").parse());
    spec.reserve(reserved.collect::<Result<Vec<Reserved>>>()?)?;
    Ok(spec)
}

fn remove(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let name = call.name();
    let found = match built_in(name) {
        Some(_) => None,
        None => Some(engine.store().networks().lookup(name).map_err(|it| unknown(name, it))?),
    };
    let Some(found) = found.filter(|found| !found.is_default()) else {
        let text = format!("{name} is a pre-defined network and cannot be removed");
        return Err(Error::new(Kind::Denied, text));
    };
    engine.remove_network(&found.name, RemoveOptions::default()).map_err(|error| {
        match error.kind() {
            Kind::Conflict => {
                let (name, id) = (&found.name, &found.id);
                let text = format!(
                    "error while removing network: network {name} id {id} has active endpoints"
                );
                Error::new(Kind::Denied, text)
            }
            _ => error,
        }
    })?;
    Ok(Reply::done())
}

fn connect(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let Connection { container, endpoint_config, .. } = call.json()?;
    let network = resolved(engine, call.name())?;
    let settings = endpoint_config.unwrap_or_default();
    engine.connect_network(&container, membership(&network, &settings)?).map_err(|error| {
        match error.kind() {
            // As Docker answers.
            Kind::Conflict => error.kind_is(Kind::Denied),
            _ => error,
        }
    })?;
    Ok(Reply::empty(StatusCode::OK))
}

fn disconnect(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let Connection { container, force, .. } = call.json()?;
    let network = resolved(engine, call.name())?;
    engine.disconnect_network(&container, &network, force).map_err(|error| match error.kind() {
        Kind::Conflict => error.kind_is(Kind::Denied),
        _ => error,
    })?;
    Ok(Reply::empty(StatusCode::OK))
}

/// Returns the name of a network that containers can come to and leave.
fn resolved(engine: &Engine, name: &str) -> Result<String> {
    if let Some(found) = built_in(name) {
        let name = found.name;
        let text =
            format!("container cannot be connected to {name} network, nor disconnected from it");
        return Err(Error::new(Kind::Denied, text));
    }
    let found = engine.store().networks().lookup(name);
    found.map(|found| found.name).map_err(|error| unknown(name, error))
}

fn prune(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let filters = call.query.filters()?;
    check_filters(&filters)?;
    let pruned = engine.prune_networks(|found| is_wanted(found, &filters))?;
    let names = if pruned.names.is_empty() { Value::Null } else { json!(pruned.names) };
    Ok(Reply::json(&json!({ "NetworksDeleted": names })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<NetworkSpec> {
        spec(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn decodes_what_compose_sends() {
        let found = decoded(
            r#"{"Name":"p_front","CheckDuplicate":true,"Driver":"bridge","Attachable":true,
                "Options":null,"Labels":{"com.docker.compose.project":"p"},
                "IPAM":{"Driver":"default","Options":null,"Config":[
                    {"Subnet":"10.9.0.0/24","IPRange":"","Gateway":"10.9.0.1"}]}}"#,
        )
        .unwrap();
        assert_eq!(found.subnets[0].subnet.to_string(), "10.9.0.0/24");
        assert_eq!(found.subnets[0].gateway.map(|it| it.to_string()).as_deref(), Some("10.9.0.1"));
        assert_eq!(found.labels["com.docker.compose.project"], "p");
        assert!(found.dns && found.reserved.is_empty());
    }

    #[test]
    fn keeps_options_of_the_driver() {
        let found =
            decoded(r#"{"Name":"m","Driver":"macvlan","Options":{"parent":"eth0"}}"#).unwrap();
        assert_eq!(found.parent(), Some("eth0"));
        for (text, kind) in [
            (r#"{"Driver":"overlay"}"#, Kind::Denied),
            (r#"{"Driver":"nosuch"}"#, Kind::NotFound),
            (r#"{"IPAM":{"Config":[{"Subnet":"x"}]}}"#, Kind::Invalid),
            (r#"{"IPAM":{"Config":[{"AuxiliaryAddresses":{"a":"10.1.1.1"}}]}}"#, Kind::Invalid),
            (r#"{"IPAM":{"Config":[{"Gateway":"10.1.1.1"}]}}"#, Kind::Invalid),
        ] {
            assert_eq!(decoded(text).unwrap_err().kind(), kind, "{text}");
        }
    }
}
