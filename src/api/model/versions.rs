//! What documents have and lack by the version of the API that a client speaks.
//!
//! They are made as the newest version and the oldest have them together; here goes what a version never
//! had, or has no more. `minor` is 45 for 1.45.

use serde_json::{Map, Value};

use crate::store::container::ContainerConfig;

/// From then on limits of the kernel's memory are not told, as there are none.
const NO_KERNEL_MEMORY: u16 = 42;
/// From then on aliases are what was asked for; the short ID is among the DNS names.
const NO_ID_AMONG_ALIASES: u16 = 45;
/// From then on nothing is said twice: not of the first network of a container, nor of an event.
const NOTHING_TWICE: u16 = 52;

/// What `NetworkSettings` said of one network beside what it says of each.
const OF_ONE_NETWORK: [&str; 14] = [
    "Bridge",
    "HairpinMode",
    "LinkLocalIPv6Address",
    "LinkLocalIPv6PrefixLen",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
];

/// Fits the document of `GET /containers/{id}/json`.
pub(super) fn container(document: &mut Value, config: &ContainerConfig, minor: u16) {
    if minor >= NO_KERNEL_MEMORY {
        remove(&mut document["HostConfig"], &["KernelMemory"]);
    }
    networks(&mut document["NetworkSettings"], config, minor);
    if minor >= NOTHING_TWICE {
        remove(&mut document["NetworkSettings"], &OF_ONE_NETWORK);
        remove_empty(&mut document["Config"], &["OnBuild"]);
    }
}

/// Fits what is said of a container's networks.
pub(super) fn networks(settings: &mut Value, config: &ContainerConfig, minor: u16) {
    if minor < NO_ID_AMONG_ALIASES {
        return;
    }
    let Some(Value::Object(networks)) = settings.get_mut("Networks") else { return };
    for network in networks.values_mut() {
        let aliases = &mut network["Aliases"];
        if let Value::Array(list) = aliases {
            list.retain(|alias| alias != config.id.short());
            if list.is_empty() {
                *aliases = Value::Null;
            }
        }
    }
}

/// Fits the document of `GET /images/{name}/json`.
pub(super) fn image(document: &mut Value, minor: u16) {
    if minor >= NOTHING_TWICE {
        remove_empty(document, &["Parent", "Comment", "DockerVersion", "Author"]);
        let fields =
            ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "User", "Volumes", "WorkingDir"];
        remove_empty(&mut document["Config"], &fields);
    }
}

/// Fits an event.
pub(super) fn event(document: &mut Value, minor: u16) {
    if minor >= NOTHING_TWICE {
        remove(document, &["status", "id", "from"]);
    }
}

fn remove(document: &mut Value, fields: &[&str]) {
    retain(document, |name, _| !fields.contains(&name));
}

fn remove_empty(document: &mut Value, fields: &[&str]) {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(pairs) => pairs.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    retain(document, |name, value| !(fields.contains(&name) && is_empty(value)));
}

fn retain(document: &mut Value, keeps: impl Fn(&str, &Value) -> bool) {
    if let Value::Object(fields) = document {
        let kept: Map<String, Value> =
            std::mem::take(fields).into_iter().filter(|(name, value)| keeps(name, value)).collect();
        *fields = kept;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_have_what_is_theirs() {
        let whole = json!({
            "Parent": "", "Author": "me", "Id": "",
            "Config": { "Cmd": ["x"], "Env": null, "Labels": {}, "ArgsEscaped": false },
        });
        for (minor, want) in [
            (51, whole.clone()),
            (
                52,
                json!({
                    "Author": "me", "Id": "", "Config": { "Cmd": ["x"], "ArgsEscaped": false },
                }),
            ),
        ] {
            let mut document = whole.clone();
            image(&mut document, minor);
            assert_eq!(document, want, "{minor}");
        }
        let mut document = json!({ "id": "a", "Type": "image" });
        event(&mut document, 51);
        assert_eq!(document["id"], "a");
        event(&mut document, 52);
        assert_eq!(document, json!({ "Type": "image" }));
    }
}
