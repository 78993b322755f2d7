//! A volume, as Docker's and Podman's `volume inspect` show it.

use serde_json::{Value, json};

use crate::engine::volumes::VolumeUse;
use crate::spec::time;
use crate::spec::volume::LOCAL;
use crate::store::Store;
use crate::store::volume::joined;

/// Makes the document that `inspect` shows: Docker's fields, then Podman's.
pub fn inspect(store: &Store, found: &VolumeUse) -> Value {
    let VolumeUse { volume, users, fresh } = found;
    json!({
        "Name": volume.name,
        "Driver": LOCAL,
        "Mountpoint": store.volumes().data(&volume.name).display().to_string(),
        "CreatedAt": time::rfc3339_short(volume.created),
        "Labels": volume.spec.labels,
        "Scope": "local",
        "Options": volume.spec.options,
        "Anonymous": volume.anonymous,
        "MountCount": users.len(),
        "NeedsCopyUp": fresh,
    })
}

/// Makes what a template of `ls` sees.
pub fn row(store: &Store, found: &VolumeUse) -> Value {
    let mut row = inspect(store, found);
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
