//! `image diff`: what the top layer of an image changes, or how two images differ.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::image::changes::{Change, ChangeKind, differ};
use crate::image::merged::Node;
use crate::spec::digest::DiffId;
use crate::store::Store;

/// What every container has anew, so that no image is asked about it.
pub(in crate::engine) const NOT_OF_IMAGES: [&str; 11] = [
    "/dev",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/proc",
    "/run",
    "/run/.containerenv",
    "/run/notify",
    "/run/secrets",
    "/sys",
];

/// Compares an image with another, or with what is below its top layer.
pub fn diff(store: &Store, name: &str, other: Option<&str>) -> Result<Vec<Change>> {
    // Nobody removes layers as we look at them.
    let _no_gc = store.shared()?;
    let image = store.images().lookup(name)?;
    let after = layers(store, &image.layers)?;
    let before = match other {
        Some(other) => layers(store, &store.images().lookup(other)?.layers)?,
        None => after.get(1..).unwrap_or_default().to_vec(),
    };
    compare(&before, &after).context(|| format!("cannot compare image {name}"))
}

/// Compares what some directories look like together with what others do, the uppermost first.
pub(in crate::engine) fn compare(before: &[PathBuf], after: &[PathBuf]) -> Result<Vec<Change>> {
    let (before, after) = (Node::root(before)?, Node::root(after)?);
    let mut changes = Vec::new();
    compare_nodes(b"/", before.as_ref(), after.as_ref(), &mut changes)?;
    changes.retain(|change| !NOT_OF_IMAGES.iter().any(|path| Path::new(path) == change.path));
    Ok(changes)
}

/// Returns the directories of layers, given from the lowest to the uppermost: the uppermost first.
pub(in crate::engine) fn layers(store: &Store, layers: &[DiffId]) -> Result<Vec<PathBuf>> {
    if let Some(layer) = layers.iter().find(|layer| !store.layers().exists(layer)) {
        return Err(Error::new(Kind::NotFound, format!("layer {layer} is missing"))
            .hint("pull or load the image again"));
    }
    Ok(layers.iter().rev().map(|layer| store.layers().path(layer)).collect())
}

/// Compares what is in two directories; one that is not there is empty.
fn compare_nodes(
    path: &[u8],
    before: Option<&Node>,
    after: Option<&Node>,
    changes: &mut Vec<Change>,
) -> Result<()> {
    let children = |node: Option<&Node>| -> Result<BTreeMap<Vec<u8>, Node>> {
        node.map_or(Ok(BTreeMap::new()), Node::children)
    };
    let below = |name: &[u8]| [path, name].concat();
    let change = |kind, path: &[u8]| Change { kind, path: OsStr::from_bytes(path).into() };
    let (mut old, new) = (children(before)?, children(after)?);
    for (name, node) in new {
        let path = below(&name);
        let old = old.remove(&name);
        let at = changes.len();
        let kind = match &old {
            None => Some(ChangeKind::Added),
            Some(old) if old.is_same(&node) => continue,
            Some(old) => differ(&old.stat, &node.stat).then_some(ChangeKind::Changed),
        };
        if node.is_dir() {
            // What was a file has nothing in it.
            let old = old.filter(Node::is_dir);
            let inside = [&path[..], b"/"].concat();
            compare_nodes(&inside, old.as_ref(), Some(&node), changes)?;
        }
        // A directory in which something changed counts as changed, and comes before that.
        let kind = kind.or((changes.len() > at).then_some(ChangeKind::Changed));
        if let Some(kind) = kind {
            changes.insert(at, change(kind, &path));
        }
    }
    changes.extend(old.into_keys().map(|name| change(ChangeKind::Deleted, &below(&name))));
    Ok(())
}
