//! A volume, as Docker's and Podman's `volume inspect` show it.

use serde_json::{Value, json};

use crate::engine::volumes::VolumeUse;
use crate::spec::time;
use crate::store::volume::joined;

/// Makes the document that `inspect` shows: Docker's fields, then Podman's.
pub fn inspect(found: &VolumeUse) -> Value {
    let VolumeUse { volume, users, fresh, place, status } = found;
    let mut document = json!({
        "Name": volume.name,
        "Driver": volume.spec.driver(),
        "Mountpoint": place.as_ref().map(|place| place.display().to_string()).unwrap_or_default(),
        "CreatedAt": time::rfc3339_short(volume.created),
        "Labels": volume.spec.labels,
        "Scope": "local",
        "Options": volume.spec.options,
        "Anonymous": volume.anonymous,
        "MountCount": users.len(),
        "NeedsCopyUp": fresh,
        "NeedsChown": fresh,
    });
    if let Some(status) = status {
        document["Status"] = status.clone();
    }
    document
}

/// Makes what a template of `ls` sees.
pub fn row(found: &VolumeUse) -> Value {
    let mut row = inspect(found);
    row["LabelMap"] = row["Labels"].take();
    row["Labels"] = joined(&found.volume.spec.labels).into();
    row["Options"] = joined(&found.volume.spec.options).into();
    row["Availability"] = "N/A".into();
    row["Group"] = "N/A".into();
    row["Links"] = found.users.len().into();
    row["Status"] = "N/A".into();
    row["Size"] = "N/A".into();
    row
}
