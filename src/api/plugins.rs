//! Plugins: `/plugins/…`.
//!
//! Docker's own are images that it runs; here a plugin is a process that listens, started by somebody
//! else. So they are listed, and nothing can be done to them.

use serde_json::{Value, json};

use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use crate::engine::Engine;
use crate::engine::volumes::{FoundPlugin, plugins};
use crate::error::{Error, Kind, Result};
use crate::spec::filter;
use crate::store::blob::digest_of;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/plugins", How::Look(list)),
    // It is no name.
    route("GET", "/plugins/privileges", How::Look(nothing_to_do)),
    route("GET", "/plugins/{name...}/json", How::Look(inspect)),
    route("DELETE", "/plugins/{name...}", How::Look(nothing_to_do)),
    route("POST", "/plugins/{name...}", How::Look(nothing_to_do)),
];

/// Says that plugins are processes of others.
fn nothing_to_do(_: &Engine, _: &mut Call) -> Result<Reply> {
    let text = "plugins are neither installed nor changed by barge: \
                it uses those that listen in /run/docker/plugins";
    Err(Error::new(Kind::Unsupported, text)
        .hint("have the plugin started by the system, with its socket there"))
}

/// `GET /plugins`.
fn list(_: &Engine, call: &mut Call) -> Result<Reply> {
    let filters = call.query.filters()?;
    let mut all = Vec::new();
    for found in plugins() {
        let is_wanted = filter::passes(&filters, |key, value| match key {
            "capability" => Ok(capabilities(&found).any(|name| name == value)),
            "enable" | "enabled" => match value {
                "true" | "1" => Ok(found.kinds.is_some()),
                "false" | "0" => Ok(found.kinds.is_none()),
                _ => Err(Error::new(Kind::Invalid, format!("invalid filter 'enabled={value}'"))),
            },
            _ => Err(Error::new(Kind::Invalid, format!("invalid filter '{key}'"))),
        })?;
        if is_wanted {
            all.push(document(&found));
        }
    }
    Ok(Reply::json(&all))
}

/// `GET /plugins/{name}/json`.
fn inspect(_: &Engine, call: &mut Call) -> Result<Reply> {
    let name = call.name();
    // A plugin of Docker's has a tag.
    let bare = name.strip_suffix(":latest").unwrap_or(name);
    let found = plugins().into_iter().find(|found| found.name == bare || id(found) == name);
    match found {
        Some(found) => Ok(Reply::json(&document(&found))),
        None => Err(Error::new(Kind::NotFound, format!("plugin \"{name}\" not found"))),
    }
}

/// Returns what a plugin is for, in the words of Docker's document.
fn capabilities(found: &FoundPlugin) -> impl Iterator<Item = String> {
    found.kinds.iter().flatten().map(|kind| kind.to_lowercase())
}

/// Plugins have no IDs; their names are theirs alone.
fn id(found: &FoundPlugin) -> String {
    digest_of(found.name.as_bytes()).hex().to_owned()
}

fn document(found: &FoundPlugin) -> Value {
    let types: Vec<_> = capabilities(found).map(|name| format!("docker.{name}/1.0")).collect();
    json!({
        "Id": id(found),
        "Name": found.name,
        "Enabled": found.kinds.is_some(),
        "Settings": { "Mounts": [], "Env": [], "Args": [], "Devices": [] },
        "PluginReference": "",
        "Config": {
            "Description": "a process that listens for itself",
            "Documentation": "",
            "Interface": { "Types": types, "Socket": found.address },
            "Entrypoint": [],
            "WorkDir": "",
            "User": {},
            "Network": { "Type": "host" },
            "Linux": { "Capabilities": [], "AllowAllDevices": false, "Devices": [] },
            "PropagatedMount": "",
            "IpcHost": true,
            "PidHost": true,
            "Mounts": [],
            "Env": [],
            "Args": { "Name": "", "Description": "", "Settable": [], "Value": [] },
        },
    })
}
