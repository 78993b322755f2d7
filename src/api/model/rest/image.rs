//! Images, as Docker's REST API shows them: by short names, and IDs with `sha256:`.

use serde_json::{Map, Value, json};

use super::{list_or_null, or_null};
use crate::api::model::versions;
use crate::engine::images::{HistoryEntry, Inspection, Removals, Usage};
use crate::spec::digest::DiffId;
use crate::spec::reference::Reference;
use crate::spec::storage::DriverName;
use crate::spec::time;
use crate::store::image::{NamedImage, Removal};

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// How an image is used, as far as somebody has counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted<'a> {
    /// How many containers were made from it.
    pub containers: Option<&'a Usage>,
    /// Bytes that it has in common with others.
    pub shared: Option<&'a Usage>,
}

/// Makes an image's row of a list. Of what nobody has counted, Docker says that it is -1.
pub fn summary(named: &NamedImage, usage: Counted<'_>, minor: u16) -> Value {
    let NamedImage { image, names, digests } = named;
    let (mut tags, mut repo_digests) = (familiar(names), familiar(digests));
    if minor < 43 {
        let is_bare = tags.is_empty() && repo_digests.is_empty();
        if is_bare {
            tags.push("<none>:<none>".to_owned());
            repo_digests.push("<none>@<none>".to_owned());
        }
    }
    let mut document = json!({
        "Containers": usage.containers.map_or(json!(-1), |usage| usage.containers.into()),
        "Created": image.created.div_euclid(SECOND),
        "Id": image.id,
        "Labels": or_null(&image.config.labels),
        "ParentId": "",
        "RepoDigests": repo_digests,
        "RepoTags": tags,
        "SharedSize": usage.shared.map_or(json!(-1), |usage| usage.shared.into()),
        "Size": image.size,
    });
    if minor < 44 {
        document["VirtualSize"] = image.size.into();
    }
    document
}

/// Makes the document of one image.
pub fn inspect(inspection: &Inspection, minor: u16) -> Value {
    let Inspection { named, config, manifest: _, driver, layers } = inspection;
    let NamedImage { image, names, digests } = named;
    let created = match image.created {
        0 => config.created.clone().unwrap_or_else(|| super::NEVER.to_owned()),
        created => time::rfc3339_short(created),
    };
    let mut data = Map::new();
    if *driver == DriverName::Overlay
        && let Some((upper, lower)) = layers.split_first()
    {
        data.insert("UpperDir".to_owned(), json!(upper));
        if !lower.is_empty() {
            let lower: Vec<_> = lower.iter().map(|path| path.to_string_lossy()).collect();
            data.insert("LowerDir".to_owned(), lower.join(":").into());
        }
    }
    let last = config.history.last();
    let mut document = json!({
        "Id": image.id,
        "RepoTags": familiar(names),
        "RepoDigests": familiar(digests),
        "Parent": "",
        "Comment": last.and_then(|step| step.comment.as_deref()).unwrap_or_default(),
        "Created": created,
        "DockerVersion": "",
        "Author": config.author.as_deref().unwrap_or_default(),
        "Config": run_config(inspection, minor),
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": image.size,
        "GraphDriver": {
            "Name": if *driver == DriverName::Overlay { "overlay2" } else { driver.as_str() },
            "Data": if data.is_empty() { Value::Null } else { data.into() },
        },
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers.iter().map(DiffId::to_string).collect::<Vec<_>>(),
        },
        "Metadata": { "LastTagTime": super::NEVER },
    });
    if let Some(variant) = &image.variant {
        document["Variant"] = variant.as_str().into();
    }
    if minor < 44 {
        document["VirtualSize"] = image.size.into();
    }
    if minor < 45 {
        document["Container"] = "".into();
        document["ContainerConfig"] = document["Config"].clone();
    }
    versions::image(&mut document, minor);
    document
}

/// Makes what an image wants to be run with. Before 1.50 that had all that a container has.
fn run_config(inspection: &Inspection, minor: u16) -> Value {
    let config = &inspection.config.config;
    let mut document = json!({
        "User": config.user,
        "Env": config.env,
        "Cmd": config.cmd,
        "Volumes": match config.volumes.is_empty() {
            true => Value::Null,
            false => json!(config.volumes),
        },
        "WorkingDir": config.working_dir,
        "Entrypoint": config.entrypoint,
        "OnBuild": if config.on_build.is_empty() { Value::Null } else { json!(config.on_build) },
        "Labels": or_null(&config.labels),
    });
    let mut add = |name: &str, value: Value| document[name] = value;
    if !config.exposed_ports.is_empty() {
        add("ExposedPorts", json!(config.exposed_ports));
    }
    if let Some(signal) = &config.stop_signal {
        add("StopSignal", signal.as_str().into());
    }
    if let Some(check) = &config.healthcheck {
        add("Healthcheck", json!(check));
    }
    if let Some(shell) = &config.shell {
        add("Shell", json!(shell));
    }
    if minor < 50 {
        for name in ["Hostname", "Domainname", "Image"] {
            add(name, "".into());
        }
        for name in ["AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"]
        {
            add(name, false.into());
        }
    }
    document
}

/// Makes the list of steps of an image's making, the last one first.
pub fn history(steps: &[HistoryEntry]) -> Value {
    let step = |step: &HistoryEntry| {
        json!({
            "Comment": step.comment,
            "Created": step.created.div_euclid(SECOND),
            "CreatedBy": step.created_by,
            "Id": step.id.as_ref().map_or_else(|| "<missing>".to_owned(), ToString::to_string),
            "Size": step.size,
            "Tags": list_or_null(familiar(&step.names).into_iter().map(Value::from).collect()),
        })
    };
    steps.iter().map(step).collect()
}

/// Lists what a removal did.
pub fn removals(removals: &Removals) -> Vec<Value> {
    let entry = |removal: &Removal| match removal {
        Removal::Untagged(name) => json!({ "Untagged": name.familiar() }),
        Removal::Deleted(id) => json!({ "Deleted": id }),
    };
    removals.done.iter().map(entry).collect()
}

/// Makes the document of a prune.
pub fn pruned(removed: &Removals) -> Value {
    json!({ "ImagesDeleted": list_or_null(removals(removed)), "SpaceReclaimed": removed.bytes })
}

/// Returns names as Docker shows them: what a client called `alpine` stays `alpine`.
fn familiar(names: &[Reference]) -> Vec<String> {
    names.iter().map(Reference::familiar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::image::Image;

    fn named(names: &[&str]) -> NamedImage {
        let image: Image = serde_json::from_value(json!({
            "id": format!("sha256:{}", "a".repeat(64)),
            "layers": [],
            "config": { "Labels": { "tier": "web" } },
            "architecture": "amd64",
            "os": "linux",
            "created": 1_700_000_000_123_456_789_i64,
            "size": 7,
        }))
        .unwrap();
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        NamedImage { image, names, digests: Vec::new() }
    }

    #[test]
    fn names_are_what_clients_called_them() {
        let row = summary(
            &named(&["alpine", "localhost:5000/a/b:1", "user/app"]),
            Counted::default(),
            51,
        );
        assert_eq!(
            row["RepoTags"],
            json!(["alpine:latest", "localhost:5000/a/b:1", "user/app:latest"])
        );
        assert_eq!(row["Id"], format!("sha256:{}", "a".repeat(64)));
        assert_eq!(row["Created"], 1_700_000_000);
        assert_eq!((&row["Containers"], &row["SharedSize"]), (&json!(-1), &json!(-1)));
        assert_eq!(row.get("VirtualSize"), None);
    }

    #[test]
    fn old_clients_see_what_they_know() {
        let row = summary(&named(&[]), Counted::default(), 41);
        assert_eq!(row["RepoTags"], json!(["<none>:<none>"]));
        assert_eq!(row["RepoDigests"], json!(["<none>@<none>"]));
        assert_eq!(row["VirtualSize"], 7);
        let usage = Usage { containers: 2, shared: 3 };
        let row = summary(&named(&[]), Counted { containers: Some(&usage), shared: None }, 51);
        assert_eq!(row["SharedSize"], json!(-1));
        assert_eq!((&row["RepoTags"], &row["Containers"]), (&json!([]), &json!(2)));
    }
}
