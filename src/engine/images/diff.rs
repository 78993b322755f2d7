//! `image diff`: what the top layer of an image changes, or how two images differ.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{Context, Error, Kind, Result};
use crate::image::changes::{Change, ChangeKind, differ, in_image};
use crate::image::merged::Node;
use crate::spec::digest::DiffId;
use crate::spec::userns::IdMapping;
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
    compare(&Seen::of_image(before), &Seen::of_image(after))
        .context(|| format!("cannot compare image {name}"))
}

/// Directories that are seen as one.
pub(in crate::engine) struct Seen {
    /// The directories, the uppermost first.
    pub(in crate::engine) dirs: Vec<PathBuf>,
    /// For which IDs of an image the owners of their files stand, where they are others.
    pub(in crate::engine) owners: Option<IdMapping>,
}

impl Seen {
    /// Makes it of the layers of an image, the uppermost first.
    pub(in crate::engine) fn of_image(dirs: Vec<PathBuf>) -> Self {
        Self { dirs, owners: None }
    }
}

/// Compares what some directories look like together with what others do.
pub(in crate::engine) fn compare(before: &Seen, after: &Seen) -> Result<Vec<Change>> {
    let owners = [before.owners.as_ref(), after.owners.as_ref()];
    let (before, after) = (Node::root(&before.dirs)?, Node::root(&after.dirs)?);
    let mut changes = Vec::new();
    compare_nodes(b"/", (before.as_ref(), after.as_ref()), owners, &mut changes)?;
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
///
/// `owners` are those of the files before and after.
fn compare_nodes(
    path: &[u8],
    (before, after): (Option<&Node>, Option<&Node>),
    owners: [Option<&IdMapping>; 2],
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
        // It counts only for what is below it, and is no change of what it is in.
        let counts = is_of_images(&path);
        let kind = match &old {
            None => Some(ChangeKind::Added),
            Some(old) if old.is_same(&node) => continue,
            Some(old) => {
                let [before, after] = owners;
                differ(&in_image(old.stat, before), &in_image(node.stat, after))
                    .then_some(ChangeKind::Changed)
            }
        };
        if node.is_dir() {
            // What was a file has nothing in it.
            let old = old.filter(Node::is_dir);
            let inside = [&path[..], b"/"].concat();
            compare_nodes(&inside, (old.as_ref(), Some(&node)), owners, changes)?;
        }
        // A directory in which something changed counts as changed, and comes before that.
        let kind = kind.or((changes.len() > at).then_some(ChangeKind::Changed));
        if let Some(kind) = kind.filter(|_| counts) {
            changes.insert(at, change(kind, &path));
        }
    }
    let gone = old.into_keys().map(|name| below(&name)).filter(|path| is_of_images(path));
    changes.extend(gone.map(|path| change(ChangeKind::Deleted, &path)));
    Ok(())
}

fn is_of_images(path: &[u8]) -> bool {
    !NOT_OF_IMAGES.iter().any(|other| other.as_bytes() == path)
}
