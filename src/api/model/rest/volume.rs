//! Volumes, as Docker's REST API shows them.

use serde_json::{Value, json};

use super::or_null;
use crate::engine::volumes::{PrunedVolumes, VolumeUse};
use crate::spec::time;

/// The label that Docker gives to volumes that nobody has named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// Makes the document of a volume.
pub fn document(found: &VolumeUse) -> Value {
    let VolumeUse { volume, place, .. } = found;
    let mut labels = volume.spec.labels.clone();
    if volume.anonymous {
        labels.entry(ANONYMOUS.to_owned()).or_default();
    }
    let mut document = json!({
        "CreatedAt": time::rfc3339_short(volume.created.div_euclid(SECOND) * SECOND),
        "Driver": volume.spec.driver(),
        "Labels": or_null(&labels),
        "Mountpoint": place.as_ref().map(|place| place.display().to_string()).unwrap_or_default(),
        "Name": volume.name,
        "Options": or_null(&volume.spec.options),
        "Scope": "local",
    });
    if let Some(status) = &found.status {
        document["Status"] = status.clone();
    }
    document
}

/// Makes the document of a volume and of what it takes.
pub fn with_usage(found: &VolumeUse, bytes: u64) -> Value {
    let mut document = document(found);
    let size = if found.volume.spec.is_by_plugin() { json!(-1) } else { bytes.into() };
    document["UsageData"] = json!({ "Size": size, "RefCount": found.users.len() });
    document
}

/// Makes the document of a prune.
pub fn pruned(pruned: &PrunedVolumes) -> Value {
    json!({ "VolumesDeleted": pruned.names, "SpaceReclaimed": pruned.bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::volume::Volume;

    #[test]
    fn shows_what_docker_shows() {
        let volume = Volume {
            name: "data".to_owned(),
            created: 1_700_000_000_987_654_321,
            anonymous: true,
            spec: Default::default(),
        };
        let found = VolumeUse {
            volume,
            users: Vec::new(),
            fresh: false,
            place: Some("/v/data/_data".into()),
            status: None,
        };
        assert_eq!(
            with_usage(&found, 5),
            json!({
                "CreatedAt": "2023-11-14T22:13:20Z",
                "Driver": "local",
                "Labels": { "com.docker.volume.anonymous": "" },
                "Mountpoint": "/v/data/_data",
                "Name": "data",
                "Options": null,
                "Scope": "local",
                "UsageData": { "Size": 5, "RefCount": 0 },
            })
        );
    }
}
