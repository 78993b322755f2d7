//! What the layers of an image look like together, as overlay would show them, without a mount.
//!
//! A name is where the uppermost layer has it that has not hidden it from those above: a device that
//! is none hides what is below it, a directory that is marked as opaque all that was in it. Directories
//! of several layers show the names of all.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};

/// How overlay marks directories that hide what is below them: as root, and in a user namespace.
const OPAQUE: [&CStr; 2] = [c"trusted.overlay.opaque", c"user.overlay.opaque"];

/// A name in the merged tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where it is: the uppermost layer's for what is no directory; all that merge, the uppermost
    /// first, for a directory.
    pub(super) places: Vec<PathBuf>,
    /// What it is: that of the uppermost.
    pub(super) metadata: Metadata,
}

impl Node {
    /// Looks at the root directory of some layers, the uppermost first; `None` if there is no layer.
    pub(super) fn root(layers: &[PathBuf]) -> Result<Option<Self>> {
        let Some(first) = layers.first() else { return Ok(None) };
        Ok(Some(Self { places: layers.to_vec(), metadata: look(first)? }))
    }

    /// Returns the names in a directory.
    pub(super) fn children(&self) -> Result<BTreeMap<OsString, Self>> {
        let mut names: BTreeMap<OsString, Child> = BTreeMap::new();
        if !self.metadata.is_dir() {
            return Ok(BTreeMap::new());
        }
        for place in &self.places {
            let context = || format!("cannot list {}", place.display());
            for entry in fs::read_dir(place).context(context)? {
                let entry = entry.context(context)?;
                let (name, path) = (entry.file_name(), entry.path());
                match names.get_mut(&name) {
                    Some(Child::Settled(_) | Child::Hidden) => {}
                    Some(child) => child.merge(path)?,
                    None => {
                        names.insert(name, Child::new(path)?);
                    }
                }
            }
        }
        Ok(names.into_iter().filter_map(|(name, child)| Some((name, child.node()?))).collect())
    }
}

/// A name in the making, from the uppermost layer downwards.
enum Child {
    /// A directory that may go on below.
    Open(Node),
    /// What is below does not count any more.
    Settled(Node),
    /// It is not there.
    Hidden,
}

impl Child {
    fn new(path: PathBuf) -> Result<Self> {
        let metadata = look(&path)?;
        if is_whiteout(&metadata) {
            return Ok(Self::Hidden);
        }
        let goes_on = metadata.is_dir() && !is_opaque(&path)?;
        let node = Node { places: vec![path], metadata };
        Ok(if goes_on { Self::Open(node) } else { Self::Settled(node) })
    }

    /// Adds what a lower layer has under the name.
    fn merge(&mut self, path: PathBuf) -> Result<()> {
        let Self::Open(node) = std::mem::replace(self, Self::Hidden) else { return Ok(()) };
        let mut node = node;
        let metadata = look(&path)?;
        // A file or a whiteout below a directory ends it.
        let goes_on = metadata.is_dir() && !is_opaque(&path)?;
        if metadata.is_dir() {
            node.places.push(path);
        }
        *self = if goes_on { Self::Open(node) } else { Self::Settled(node) };
        Ok(())
    }

    fn node(self) -> Option<Node> {
        match self {
            Self::Open(node) | Self::Settled(node) => Some(node),
            Self::Hidden => None,
        }
    }
}

fn look(path: &Path) -> Result<Metadata> {
    fs::symlink_metadata(path).context(|| format!("cannot look at {}", path.display()))
}

fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(path: &Path) -> Result<bool> {
    let mut value = [0_u8; 4];
    for name in OPAQUE {
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(length) if value.get(..length) == Some(b"y") => return Ok(true),
            Ok(_) => {}
            Err(error) => match std::io::Error::from(error) {
                // It has none, or we may not see those of root.
                error
                    if error.raw_os_error() == Some(libc::ENODATA)
                        || error.kind() == ErrorKind::PermissionDenied
                        || error.kind() == ErrorKind::Unsupported => {}
                error => {
                    return Err(error)
                        .context(|| format!("cannot read the attributes of {}", path.display()));
                }
            },
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(dir: &Path, name: &str, files: &[&str]) -> PathBuf {
        let layer = dir.join(name);
        fs::create_dir(&layer).unwrap();
        for file in files {
            let path = layer.join(file.trim_end_matches('/'));
            if file.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, name).unwrap();
            }
        }
        layer
    }

    fn all(node: &Node, prefix: &str, found: &mut Vec<String>) {
        for (name, child) in node.children().unwrap() {
            let path = format!("{prefix}/{}", name.to_string_lossy());
            all(&child, &path, found);
            found.push(path);
        }
    }

    #[test]
    fn merges_layers() {
        let dir = tempfile::tempdir().unwrap();
        let lower = layer(dir.path(), "lower", &["a/x", "a/y", "b/x", "c", "d"]);
        let upper = layer(dir.path(), "upper", &["a/z", "b", "c/n"]);
        let root = Node::root(&[upper.clone(), lower]).unwrap().unwrap();
        let mut found = Vec::new();
        all(&root, "", &mut found);
        found.sort();
        assert_eq!(found, ["/a", "/a/x", "/a/y", "/a/z", "/b", "/c", "/c/n", "/d"]);
        let children = root.children().unwrap();
        assert!(children["b".as_ref() as &std::ffi::OsStr].metadata.is_file());
        assert_eq!(children["a".as_ref() as &std::ffi::OsStr].places.len(), 2);
        assert!(Node::root(&[]).unwrap().is_none());
    }
}
