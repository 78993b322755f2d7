//! An image, as Docker's `image inspect` shows it.

use serde_json::{Value, json};

use crate::engine::images::Inspection;
use crate::spec::digest::DiffId;
use crate::spec::time;

/// Makes the document that `image inspect` shows.
pub fn inspect(inspection: &Inspection) -> Value {
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
        "GraphDriver": { "Name": "overlay", "Data": null },
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers.iter().map(DiffId::to_string).collect::<Vec<_>>(),
        },
        "History": config.history,
        "NamesHistory": named.names,
    })
}
