//! An image, as Docker's `image inspect` shows it.

use serde_json::{Value, json};

use crate::engine::images::Inspection;
use crate::spec::digest::DiffId;
use crate::spec::storage::DriverName;
use crate::spec::time;

/// Makes the document that `image inspect` shows.
pub fn inspect(inspection: &Inspection) -> Value {
    let Inspection { named, config, manifest, driver, layers } = inspection;
    let image = &named.image;
    let created = match image.created {
        0 => config.created.clone().unwrap_or_default(),
        created => time::rfc3339_short(created),
    };
    let directories = match layers.split_first() {
        Some((upper, lower)) if *driver == DriverName::Overlay => {
            let lower: Vec<_> = lower.iter().map(|path| path.to_string_lossy()).collect();
            let mut directories = json!({ "UpperDir": upper });
            if !lower.is_empty() {
                directories["LowerDir"] = lower.join(":").into();
            }
            directories
        }
        _ => Value::Null,
    };
    let made_as = image.format.unwrap_or_default().manifest_type();
    json!({
        "Id": image.id.hex(),
        "Digest": image.manifest_digest.as_ref().map(ToString::to_string).unwrap_or_default(),
        "RepoTags": named.names,
        "RepoDigests": named.digests,
        "Parent": "",
        "Comment": config.history.last().and_then(|step| step.comment.as_deref()).unwrap_or_default(),
        "Created": created,
        "Config": config.config,
        "Version": "",
        "Author": config.author.as_deref().unwrap_or_default(),
        "Architecture": image.architecture,
        "Variant": image.variant.as_deref().unwrap_or_default(),
        "Os": image.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": { "Name": driver.as_str(), "Data": directories },
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers.iter().map(DiffId::to_string).collect::<Vec<_>>(),
        },
        "Labels": config.config.labels,
        "Annotations": manifest.annotations.clone().unwrap_or_default(),
        "ManifestType": manifest.media_type.as_deref().unwrap_or(made_as),
        "User": config.config.user,
        "History": config.history,
        "NamesHistory": named.names,
    })
}

/// Makes the document that templates see: as [`inspect`], and of the configuration also what is empty.
///
/// In Go a field that the document leaves out is there all the same.
pub fn fields(inspection: &Inspection) -> Value {
    let mut document = inspect(inspection);
    let empty = json!({
        "User": "",
        "ExposedPorts": {},
        "Env": [],
        "Entrypoint": [],
        "Cmd": [],
        "Volumes": {},
        "WorkingDir": "",
        "Labels": {},
        "StopSignal": "",
        "OnBuild": [],
        "Shell": [],
        "Healthcheck": null,
    });
    if let (Value::Object(config), Value::Object(empty)) = (&mut document["Config"], empty) {
        for (name, value) in empty {
            config.entry(name).or_insert(value);
        }
    }
    document
}
