//! Writing into an upper directory, on top of layers that are not mounted: no privilege and no mount
//! is needed to add files to an image, and as many steps as like can do it at the same time.
//!
//! Directories of the layers that get something new are made in the upper directory first, as overlay
//! would copy them up. Nothing is looked up by a path that leads through a symbolic link: paths of
//! users are resolved against the layers and the upper directory together, with the image as root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, fchmod,
    fchown, fsetxattr, futimens, mkdirat, openat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::image::merged::Node;

/// How many links lead on before it is a loop.
const MOST_LINKS: usize = 40;

/// A path without links, `.` and `..`: its names.
pub(super) type Names = Vec<Vec<u8>>;

/// An upper directory and what is below it.
pub(super) struct Upper {
    path: PathBuf,
    lower: Vec<PathBuf>,
    /// Directories that were copied up, and what time they have.
    times: Vec<(OwnedFd, Timestamps)>,
}

/// A directory that is in the upper directory, and what the layers have there.
pub(super) struct Directory {
    pub(super) fd: OwnedFd,
    lower: Option<Node>,
}

/// What has a name already.
pub(super) enum Existing {
    Nothing,
    Upper(Stat),
    Lower(Box<Node>),
}

impl Existing {
    /// Tells whether it is a directory.
    pub(super) fn is_dir(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Upper(stat) => FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            Self::Lower(node) => node.is_dir(),
        }
    }
}

/// What a directory gets that is made on the way.
#[derive(Clone, Copy)]
pub(super) struct NewDirectory {
    pub(super) owner: (u32, u32),
    pub(super) mode: u32,
}

impl Upper {
    /// Opens an empty upper directory; `lower` are the layers below it, the uppermost first.
    pub(super) fn new(path: &Path, lower: &[PathBuf]) -> Self {
        Self { path: path.to_owned(), lower: lower.to_vec(), times: Vec::new() }
    }

    /// Returns the files that are seen together.
    pub(super) fn merged(&self) -> Result<Node> {
        let layers: Vec<PathBuf> =
            std::iter::once(&self.path).chain(&self.lower).cloned().collect();
        Node::root(&layers)?.ok_or_else(|| Error::new(Kind::Internal, "no layer is open"))
    }

    /// Returns the root directory.
    pub(super) fn root(&self) -> Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&self.path, flags, Mode::empty())
            .context(|| format!("cannot open directory {}", self.path.display()))?;
        Ok(Directory { fd, lower: Node::root(&self.lower)? })
    }

    /// Opens a directory, and makes it and those above it where they are missing.
    pub(super) fn directory(&mut self, names: &[Vec<u8>], new: NewDirectory) -> Result<Directory> {
        let mut directory = self.root()?;
        for name in names {
            directory = self.enter(&directory, name, new)?.0;
        }
        Ok(directory)
    }

    /// Opens a directory in another one, and makes it if it is missing. Tells whether it was.
    pub(super) fn enter(
        &mut self,
        parent: &Directory,
        name: &[u8],
        new: NewDirectory,
    ) -> Result<(Directory, bool)> {
        let context = || format!("cannot make directory `{}`", name.escape_ascii());
        let open = || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(&parent.fd, name, flags, Mode::empty())
        };
        let make = || mkdirat(&parent.fd, name, Mode::from_raw_mode(0o700));
        match parent.existing(name)? {
            Existing::Upper(_) => {
                let fd = open().map_err(|error| match error {
                    Errno::NOTDIR | Errno::LOOP => not_a_directory(name),
                    error => Error::new(Kind::Internal, context()).caused_by(error),
                })?;
                // A file that was replaced hides nothing: it was one all along.
                let lower = parent.lower_child(name)?.filter(Node::is_dir);
                Ok((Directory { fd, lower }, false))
            }
            Existing::Lower(node) if node.is_dir() => {
                make().context(context)?;
                let fd = open().context(context)?;
                let stat = node.stat;
                give(&fd, (stat.st_uid, stat.st_gid)).context(context)?;
                for (key, value) in node.attributes()? {
                    fsetxattr(&fd, key.as_slice(), &value, rustix::fs::XattrFlags::empty())
                        .context(context)?;
                }
                fchmod(&fd, Mode::from_raw_mode(stat.st_mode & 0o7777)).context(context)?;
                let copy = fd.try_clone().context(context)?;
                self.remember(copy, times_of(&stat))?;
                Ok((Directory { fd, lower: Some(*node) }, false))
            }
            Existing::Lower(_) => Err(not_a_directory(name)),
            Existing::Nothing => {
                make().context(context)?;
                let fd = open().context(context)?;
                give(&fd, new.owner).context(context)?;
                fchmod(&fd, Mode::from_raw_mode(new.mode)).context(context)?;
                Ok((Directory { fd, lower: None }, true))
            }
        }
    }

    /// What was copied up is to look as it did, once all is in it.
    fn remember(&mut self, directory: OwnedFd, times: Timestamps) -> Result<()> {
        /// Descriptors are few.
        const MOST: usize = 256;
        if self.times.len() >= MOST {
            self.set_times()?;
        }
        self.times.push((directory, times));
        Ok(())
    }

    fn set_times(&mut self) -> Result<()> {
        for (directory, times) in self.times.drain(..).rev() {
            futimens(&directory, &times).context(|| "cannot set the time of a directory")?;
        }
        Ok(())
    }

    /// Ends the writing.
    pub(super) fn finish(mut self) -> Result<()> {
        self.set_times()
    }

    /// Resolves a path of the image: links lead on within it, and what is not there stays as it is
    /// written.
    pub(super) fn resolve(&self, path: &[u8]) -> Result<Names> {
        resolve(&self.merged()?, path, true)
    }
}

/// Resolves a path below a root.
pub(super) fn resolve(root: &Node, path: &[u8], follow_last: bool) -> Result<Names> {
    let mut found: Vec<(Vec<u8>, Option<Node>)> = Vec::new();
    let mut left: Vec<Vec<u8>> = names(path);
    left.reverse();
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == b".." {
            found.pop();
            continue;
        }
        let here = match found.last() {
            None => Some(root),
            Some((_, node)) => node.as_ref(),
        };
        let node = match here {
            Some(node) => node.child(&name)?,
            None => None,
        };
        let is_link = |node: &Node| FileType::from_raw_mode(node.stat.st_mode) == FileType::Symlink;
        match node {
            Some(node) if is_link(&node) && (follow_last || !left.is_empty()) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!("too many symbolic links on the way to `{}`", path.escape_ascii()),
                    ));
                }
                let target = node.link()?;
                if target.starts_with(b"/") {
                    found.clear();
                }
                left.extend(names(&target).into_iter().rev());
            }
            node => found.push((name, node)),
        }
    }
    Ok(found.into_iter().map(|(name, _)| name).collect())
}

/// Splits a path at slashes; `.` and empty names say nothing.
pub(super) fn names(path: &[u8]) -> Names {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

/// Finds what a path without links leads to.
pub(super) fn look(root: &Node, names: &[Vec<u8>]) -> Result<Option<Node>> {
    let mut node = root.clone();
    for name in names {
        match node.child(name)? {
            Some(child) => node = child,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

impl Directory {
    /// Looks at what has a name here.
    pub(super) fn existing(&self, name: &[u8]) -> Result<Existing> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => return Ok(Existing::Upper(stat)),
            Err(Errno::NOENT) => {}
            Err(error) => {
                return Err(error).context(|| format!("cannot look at `{}`", name.escape_ascii()));
            }
        }
        Ok(match self.lower_child(name)? {
            Some(node) => Existing::Lower(Box::new(node)),
            None => Existing::Nothing,
        })
    }

    fn lower_child(&self, name: &[u8]) -> Result<Option<Node>> {
        match &self.lower {
            Some(lower) => lower.child(name),
            None => Ok(None),
        }
    }

    /// Makes room for something that is no directory.
    pub(super) fn make_room(&self, name: &[u8]) -> Result<()> {
        let existing = self.existing(name)?;
        if existing.is_dir() {
            return Err(Error::new(
                Kind::Conflict,
                format!("cannot replace the directory `{}` by a file", name.escape_ascii()),
            ));
        }
        if let Existing::Upper(_) = existing {
            unlinkat(&self.fd, name, AtFlags::empty())
                .context(|| format!("cannot replace `{}`", name.escape_ascii()))?;
        }
        Ok(())
    }
}

fn not_a_directory(name: &[u8]) -> Error {
    Error::new(Kind::Conflict, format!("`{}` is not a directory", name.escape_ascii()))
}

/// Gives something to an owner.
pub(super) fn give(file: impl AsFd, (uid, gid): (u32, u32)) -> rustix::io::Result<()> {
    fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

/// The time of the last change, to be set.
pub(super) fn times_of(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0),
        },
    }
}
