//! An image, as Docker's `image inspect` shows it.

use serde_json::{Map, Value, json};

use crate::engine::images::Inspection;
use crate::spec::digest::DiffId;
use crate::spec::storage::DriverName;
use crate::spec::time;
use crate::store::Store;

/// Makes the document that `image inspect` shows.
pub fn inspect(store: &Store, inspection: &Inspection) -> Value {
    let Inspection { named, config } = inspection;
    let image = &named.image;
    let created = match image.created {
        0 => config.created.clone().unwrap_or_default(),
        created => time::rfc3339_short(created),
    };
    json!({
        "Id": image.id.hex(),
        "Digest": image.manifest_digest.as_ref().map(ToString::to_string).unwrap_or_default(),
        "RepoTags": named.names,
        "RepoDigests": named.digests,
        "Parent": "",
        "Comment": config.history.last().and_then(|step| step.comment.as_deref()).unwrap_or_default(),
        "Created": created,
        "Author": config.author.as_deref().unwrap_or_default(),
        "Architecture": image.architecture,
        "Variant": image.variant.as_deref().unwrap_or_default(),
        "Os": image.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "User": config.config.user,
        "Config": config.config,
        "Labels": config.config.labels,
        "Annotations": {},
        "GraphDriver": graph_driver(store, &image.layers),
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers.iter().map(DiffId::to_string).collect::<Vec<_>>(),
        },
        "History": config.history,
        "NamesHistory": named.names,
    })
}

/// Where the files are: the uppermost layer's, and those of the others.
fn graph_driver(store: &Store, layers: &[DiffId]) -> Value {
    let driver = store.driver();
    let path = |layer: &DiffId| store.layers().path(layer).display().to_string();
    let mut data = Map::new();
    if let (DriverName::Overlay, Some((upper, rest))) = (driver, layers.split_last()) {
        if !rest.is_empty() {
            let lower: Vec<String> = rest.iter().rev().map(path).collect();
            data.insert("LowerDir".to_owned(), lower.join(":").into());
        }
        data.insert("UpperDir".to_owned(), path(upper).into());
    }
    let data = if data.is_empty() { Value::Null } else { Value::Object(data) };
    json!({ "Name": driver.as_str(), "Data": data })
}
