//! What the layers of an image look like together, as overlay would show them, without a mount.
//!
//! A name is where the uppermost layer has it that has not hidden it from those above: a device that
//! is none hides what is below it, a directory that is marked as opaque all that was in it. Directories
//! of several layers show the names of all.
//!
//! The uppermost may be what a running container writes to. So nothing is looked up by a path that it
//! could change: directories are opened below the layer they belong to, and links lead nowhere.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, statat};
use rustix::io::Errno;

use crate::error::{Context, Result};
use crate::sys::root::Root;
use crate::sys::xattrs;

/// How overlay marks directories that hide what is below them: as root, and in a user namespace.
const OPAQUE: [&CStr; 2] = [c"trusted.overlay.opaque", c"user.overlay.opaque"];

/// What whiteouts begin with, where they could not be made as overlay has them.
const WHITEOUT: &[u8] = b".wh.";
/// What marks directories as opaque there, behind that.
const OPAQUE_FILE: &[u8] = b".wh..opq";

/// A layer's directory, opened.
#[derive(Debug)]
struct Layer {
    path: PathBuf,
    root: Root,
    /// Whether no name in it is a mark.
    is_plain: bool,
}

/// Where a layer has something.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    layer: Rc<Layer>,
    /// Below the layer's directory; empty for that itself.
    path: Vec<u8>,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.layer.path == other.layer.path && self.path == other.path
    }
}

impl Place {
    fn below(&self, name: &[u8]) -> Self {
        Self { layer: Rc::clone(&self.layer), path: joined(&self.path, name) }
    }

    fn open(&self) -> io::Result<OwnedFd> {
        self.layer.root.listing(&self.path)
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.layer.path.display(), self.path.escape_ascii())
    }
}

/// A name in the merged tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it is: the uppermost layer's for what is no directory; all that merge, the uppermost
    /// first, for a directory.
    places: Vec<Place>,
    /// What it is: that of the uppermost.
    pub stat: Stat,
}

impl Node {
    /// Looks at the root directory of some layers, the uppermost first; `None` if there is no layer.
    pub fn root(layers: &[PathBuf]) -> Result<Option<Self>> {
        let mut places = Vec::new();
        for path in layers {
            let root =
                Root::open(path).context(|| format!("cannot open directory {}", path.display()))?;
            let layer = Layer { path: path.clone(), root, is_plain: false };
            places.push(Place { layer: Rc::new(layer), path: Vec::new() });
        }
        let Some(first) = places.first() else { return Ok(None) };
        let context = || format!("cannot look at {}", first.shown());
        let stat = rustix::fs::fstat(&first.layer.root).context(context)?;
        Ok(Some(Self { places, stat }))
    }

    /// Looks at a directory that is no layer: nothing in it is a mark.
    pub fn plain(path: &std::path::Path) -> Result<Self> {
        let context = || format!("cannot open directory {}", path.display());
        let root = Root::open(path).context(context)?;
        let stat = rustix::fs::fstat(&root).context(context)?;
        let layer = Layer { path: path.to_owned(), root, is_plain: true };
        Ok(Self { places: vec![Place { layer: Rc::new(layer), path: Vec::new() }], stat })
    }

    /// Returns where a symbolic link leads to.
    pub(crate) fn link(&self) -> Result<Vec<u8>> {
        let Some(place) = self.places.first() else { return Ok(Vec::new()) };
        rustix::fs::readlinkat(&place.layer.root, place.path.as_slice(), Vec::new())
            .map(std::ffi::CString::into_bytes)
            .context(|| format!("cannot read the link {}", place.shown()))
    }

    /// Tells whether it is a directory.
    pub fn is_dir(&self) -> bool {
        kind_of(&self.stat) == FileType::Directory
    }

    /// Tells whether this and another are the same files of the same layers.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.places == other.places
    }

    /// Returns the names in a directory.
    pub fn children(&self) -> Result<BTreeMap<Vec<u8>, Self>> {
        let mut names: BTreeMap<Vec<u8>, Child> = BTreeMap::new();
        if !self.is_dir() {
            return Ok(BTreeMap::new());
        }
        for place in &self.places {
            let context = || format!("cannot list {}", place.shown());
            // Who writes to the uppermost may have removed it.
            let Some(directory) = still_there(place.open()).context(context)? else { continue };
            let mut hidden = Vec::new();
            for entry in Dir::read_from(&directory).context(context)? {
                let name = entry.context(context)?.file_name().to_owned();
                let bytes = name.to_bytes();
                if matches!(bytes, b"." | b"..") {
                    continue;
                }
                if !place.layer.is_plain
                    && let Some(name) = bytes.strip_prefix(WHITEOUT)
                {
                    hidden.push(name.to_vec());
                    continue;
                }
                let found = match names.get(bytes) {
                    Some(Child::Settled(_) | Child::Hidden) => None,
                    _ => look(&directory, &name).context(context)?,
                };
                let Some(stat) = found else { continue };
                let child = Child::add(names.remove(bytes), place.below(bytes), stat)?;
                names.insert(bytes.to_vec(), child);
            }
            // They hide what is below this layer, and nothing of it.
            let is_opaque = hidden.iter().any(|name| name.as_slice() == OPAQUE_FILE);
            for name in hidden {
                let settled = names.remove(&name).map_or(Child::Hidden, Child::settled);
                names.insert(name, settled);
            }
            if is_opaque {
                break;
            }
        }
        Ok(names.into_iter().filter_map(|(name, child)| Some((name, child.node()?))).collect())
    }

    /// Returns what has a name in a directory, without listing it. Only for layers that nobody writes to.
    pub(crate) fn child(&self, name: &[u8]) -> Result<Option<Self>> {
        if !self.is_dir() {
            return Ok(None);
        }
        let mut child = None;
        for place in &self.places {
            let place = place.below(name);
            // All but the last component are directories of this layer, and stay so.
            let found = statat(&place.layer.root, place.path.as_slice(), AtFlags::SYMLINK_NOFOLLOW);
            let stat = match found {
                Ok(stat) => stat,
                // What is longer than the kernel takes is in no layer.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => continue,
                Err(error) => {
                    return Err(error).context(|| format!("cannot look at {}", place.shown()));
                }
            };
            match Child::add(child.take(), place, stat)? {
                Child::Open(node) => child = Some(Child::Open(node)),
                settled => return Ok(settled.node()),
            }
        }
        Ok(child.and_then(Child::node))
    }

    /// Returns the extended attributes of a directory: those of the uppermost.
    pub(crate) fn attributes(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let Some(place) = self.places.first() else { return Ok(Vec::new()) };
        let read = place.open().and_then(|directory| xattrs::of(&directory));
        read.context(|| format!("cannot read the attributes of {}", place.shown()))
    }

    /// Opens a file of an image to be read; `None` if it is none.
    pub fn open(&self) -> Result<Option<OwnedFd>> {
        let (Some(place), FileType::RegularFile) = (self.places.first(), kind_of(&self.stat))
        else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = place.layer.root.beneath(&place.path, flags);
        opened.map(Some).context(|| format!("cannot open {}", place.shown()))
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
    /// Adds what a lower layer has under the name.
    fn add(above: Option<Self>, place: Place, stat: Stat) -> Result<Self> {
        let is_dir = kind_of(&stat) == FileType::Directory;
        let goes_on = is_dir && !is_opaque(&place)?;
        let node = match above {
            None if is_whiteout(&stat) => return Ok(Self::Hidden),
            None => Node { places: vec![place], stat },
            Some(Self::Open(mut node)) => {
                // A file or a whiteout below a directory ends it.
                if is_dir {
                    node.places.push(place);
                }
                node
            }
            Some(settled) => return Ok(settled),
        };
        Ok(if goes_on { Self::Open(node) } else { Self::Settled(node) })
    }

    fn settled(self) -> Self {
        match self {
            Self::Open(node) => Self::Settled(node),
            other => other,
        }
    }

    fn node(self) -> Option<Node> {
        match self {
            Self::Open(node) | Self::Settled(node) => Some(node),
            Self::Hidden => None,
        }
    }
}

/// Puts a name behind a path.
pub(super) fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.len());
    joined.extend_from_slice(path);
    if !path.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

/// Returns what kind of a file it is.
pub(super) fn kind_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Tells overlay's mark for a name that is gone from a device.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    kind_of(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Looks at a name in a directory; `None` if it has just gone.
pub(super) fn look(directory: &OwnedFd, name: &CStr) -> io::Result<Option<Stat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes nothing of what is not there any more, or not as it was.
pub(super) fn still_there<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EXDEV)
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_opaque(place: &Place) -> Result<bool> {
    let context = || format!("cannot read the attributes of {}", place.shown());
    match still_there(place.open()).context(context)? {
        Some(directory) => has_opaque_mark(&directory).context(context),
        None => Ok(false),
    }
}

/// Tells whether overlay has marked a directory as one that hides what is below it.
pub(crate) fn has_opaque_mark(directory: &OwnedFd) -> io::Result<bool> {
    let mut value = [0_u8; 4];
    for name in OPAQUE {
        match rustix::fs::fgetxattr(directory, name, &mut value[..]) {
            Ok(length) if value.get(..length) == Some(b"y") => return Ok(true),
            // It has none, or we may not see those of root.
            Ok(_) | Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

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
            let path = format!("{prefix}/{}", name.escape_ascii());
            let same = node.child(&name).unwrap().unwrap();
            assert!(same.is_same(&child), "{path}");
            all(&child, &path, found);
            found.push(path);
        }
    }

    #[test]
    fn merges_layers() {
        let dir = tempfile::tempdir().unwrap();
        let lower = layer(dir.path(), "lower", &["a/x", "a/y", "b/x", "c", "d"]);
        let upper = layer(dir.path(), "upper", &["a/z", "b", "c/n"]);
        let root = Node::root(&[upper, lower]).unwrap().unwrap();
        let mut found = Vec::new();
        all(&root, "", &mut found);
        found.sort();
        assert_eq!(found, ["/a", "/a/x", "/a/y", "/a/z", "/b", "/c", "/c/n", "/d"]);
        let children = root.children().unwrap();
        assert!(children[b"b".as_slice()].open().unwrap().is_some());
        assert!(children[b"a".as_slice()].open().unwrap().is_none());
        assert_eq!(children[b"a".as_slice()].places.len(), 2);
        assert!(root.child(b"nosuch").unwrap().is_none());
        assert!(Node::root(&[]).unwrap().is_none());
    }

    #[test]
    fn takes_whiteouts_that_are_files() {
        let dir = tempfile::tempdir().unwrap();
        let lower = layer(dir.path(), "lower", &["a/x", "b/x", "b/y", "c"]);
        let upper = layer(dir.path(), "upper", &[".wh.a", "b/.wh.x", "c/.wh..wh..opq", "d"]);
        let root = Node::root(&[upper, lower]).unwrap().unwrap();
        let names = |node: &Node| -> Vec<String> {
            node.children().unwrap().keys().map(|name| name.escape_ascii().to_string()).collect()
        };
        assert_eq!(names(&root), ["b", "c", "d"]);
        assert_eq!(names(&root.children().unwrap()[b"b".as_slice()]), ["y"]);
    }

    #[test]
    fn follows_no_links() {
        let dir = tempfile::tempdir().unwrap();
        layer(dir.path(), "outside", &["secret"]);
        let upper = layer(dir.path(), "upper", &["a/x"]);
        let root = Node::root(std::slice::from_ref(&upper)).unwrap().unwrap();
        let a = root.children().unwrap().remove(b"a".as_slice()).unwrap();
        // As a container may do while it is looked at.
        fs::rename(upper.join("a"), upper.join("b")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("outside"), upper.join("a")).unwrap();
        assert!(a.children().unwrap().is_empty());
    }
}
