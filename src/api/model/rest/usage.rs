//! What takes how much space, as Docker's REST API shows it.

use serde_json::{Map, Value, json};

use super::image::{self, Counted};
use super::volume;
use crate::build::CacheUse;
use crate::engine::{DiskUsage, Total};

/// Which kinds of things are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Images.
    pub images: bool,
    /// Containers.
    pub containers: bool,
    /// Volumes.
    pub volumes: bool,
    /// What builds have left.
    pub builds: bool,
}

impl Kinds {
    /// All of them.
    pub const ALL: Self = Self { images: true, containers: true, volumes: true, builds: true };
    /// None.
    pub const NONE: Self = Self { images: false, containers: false, volumes: false, builds: false };
}

/// Makes the document as clients before 1.52 know it; `containers` are rows of their list.
pub fn lists(
    used: &DiskUsage,
    cache: &CacheUse,
    containers: Vec<Value>,
    kinds: Kinds,
    minor: u16,
) -> Value {
    let or_null = |wanted: bool, list: Vec<Value>| if wanted { json!(list) } else { Value::Null };
    let mut document = json!({
        "LayersSize": if kinds.images { used.images.bytes } else { 0 },
        "Images": or_null(kinds.images, images(used, minor)),
        "Containers": or_null(kinds.containers, containers),
        "Volumes": or_null(kinds.volumes, volumes(used)),
        "BuildCache": or_null(kinds.builds, records(cache)),
    });
    if minor < 42 {
        document["BuilderSize"] = 0.into();
    }
    document
}

/// Makes the document as clients since 1.52 know it: sums, and with `verbose` all that they are of.
pub fn sums(
    used: &DiskUsage,
    cache: &CacheUse,
    containers: Vec<Value>,
    kinds: Kinds,
    verbose: bool,
    minor: u16,
) -> Map<String, Value> {
    let mut document = Map::new();
    let mut add = |wanted: bool, name: &str, total: Total, items: Vec<Value>| {
        if !wanted {
            return;
        }
        let mut sum = json!({
            "ActiveCount": total.active,
            "TotalCount": total.count,
            "Reclaimable": total.reclaimable,
            "TotalSize": total.bytes,
        });
        if verbose && !items.is_empty() {
            sum["Items"] = items.into();
        }
        document.insert(name.to_owned(), sum);
    };
    add(kinds.images, "ImageUsage", used.images, images(used, minor));
    add(kinds.containers, "ContainerUsage", used.containers, containers);
    add(kinds.volumes, "VolumeUsage", used.volumes, volumes(used));
    let unshared = cache.records.iter().filter(|record| !record.shared).map(|record| record.size);
    let bytes = unshared.sum::<u64>() + cache.mounts;
    let total = Total { count: cache.records.len(), active: 0, bytes, reclaimable: bytes };
    add(kinds.builds, "BuildCacheUsage", total, records(cache));
    document
}

fn images(used: &DiskUsage, minor: u16) -> Vec<Value> {
    let counted = |usage| Counted { containers: Some(usage), shared: Some(usage) };
    let each = used.each_image.iter();
    each.map(|(named, usage)| image::summary(named, counted(usage), minor)).collect()
}

fn volumes(used: &DiskUsage) -> Vec<Value> {
    used.each_volume.iter().map(|(found, bytes)| volume::with_usage(found, *bytes)).collect()
}

/// Makes the documents of what builds have left.
fn records(cache: &CacheUse) -> Vec<Value> {
    let record = |record: &crate::build::CacheRecord| {
        json!({
            "ID": record.id.hex(),
            "Parents": null,
            "Type": "regular",
            "Description": record.step,
            "InUse": false,
            "Shared": record.shared,
            "Size": record.size,
            "CreatedAt": record.created,
            "LastUsedAt": null,
            "UsageCount": 1,
        })
    };
    cache.records.iter().map(record).collect()
}
