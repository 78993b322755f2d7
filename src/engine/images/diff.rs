//! `image diff`: what the top layer of an image changes, or how two images differ.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::merged::Node;
use crate::error::{Context, Error, Kind, Result};
use crate::store::Store;
use crate::store::image::Image;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is not what it was, or something in it changed.
    Changed,
    /// It is new.
    Added,
    /// It is not there any more.
    Deleted,
}

/// A path that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The path in the image.
    pub path: PathBuf,
}

/// What every container has anew, so that no image is asked about it.
const IGNORED: [&str; 11] = [
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
    let after = layers(store, &image)?;
    let before = match other {
        Some(other) => layers(store, &store.images().lookup(other)?)?,
        None => after.get(1..).unwrap_or_default().to_vec(),
    };
    let mut changes = Vec::new();
    let before = Node::root(&before)?;
    let after = Node::root(&after)?;
    compare(Path::new("/"), before.as_ref(), after.as_ref(), &mut changes)
        .context(|| format!("cannot compare image {name}"))?;
    changes.retain(|change| !IGNORED.iter().any(|path| Path::new(path) == change.path));
    Ok(changes)
}

/// Returns the directories of an image's layers, the uppermost first.
fn layers(store: &Store, image: &Image) -> Result<Vec<PathBuf>> {
    if let Some(layer) = image.layers.iter().find(|layer| !store.layers().exists(layer)) {
        return Err(Error::new(Kind::NotFound, format!("layer {layer} is missing"))
            .hint("pull or load the image again"));
    }
    Ok(image.layers.iter().rev().map(|layer| store.layers().path(layer)).collect())
}

/// Compares what is in two directories; one that is not there is empty.
fn compare(
    path: &Path,
    before: Option<&Node>,
    after: Option<&Node>,
    changes: &mut Vec<Change>,
) -> Result<()> {
    let children = |node: Option<&Node>| -> Result<BTreeMap<OsString, Node>> {
        node.map_or(Ok(BTreeMap::new()), Node::children)
    };
    let (mut old, new) = (children(before)?, children(after)?);
    for (name, node) in new {
        let path = path.join(&name);
        let old = old.remove(&name);
        let at = changes.len();
        let kind = match &old {
            None => Some(ChangeKind::Added),
            Some(old) if old.places == node.places => continue,
            Some(old) => differs(old, &node).then_some(ChangeKind::Changed),
        };
        if node.metadata.is_dir() {
            // What was a file has nothing in it.
            let old = old.filter(|old| old.metadata.is_dir());
            compare(&path, old.as_ref(), Some(&node), changes)?;
        }
        // A directory in which something changed counts as changed, and comes before that.
        let kind = kind.or((changes.len() > at).then_some(ChangeKind::Changed));
        if let Some(kind) = kind {
            changes.insert(at, Change { kind, path });
        }
    }
    let deleted = old.into_keys().map(|name| path.join(name));
    changes.extend(deleted.map(|path| Change { kind: ChangeKind::Deleted, path }));
    Ok(())
}

/// Tells whether two things of one name are different, by what is known of them without reading them.
fn differs(old: &Node, new: &Node) -> bool {
    let (a, b) = (&old.metadata, &new.metadata);
    let time = |it: &std::fs::Metadata| (it.mtime(), it.mtime_nsec());
    (a.mode(), a.uid(), a.gid(), a.rdev()) != (b.mode(), b.uid(), b.gid(), b.rdev())
        || (!b.is_dir() && (a.len() != b.len() || time(a) != time(b)))
}
