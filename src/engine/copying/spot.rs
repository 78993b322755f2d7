//! Finding what a path of a copy means: the rules are those of `docker cp`.
//!
//! A slash at the end says that it is a directory, and that a link is to be followed; `/.` says that
//! what is in it is meant. Links on the way lead where they would lead inside the root; the last one
//! is followed by hand, so that what is found has a name in a directory.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, readlinkat, statat};
use rustix::io::Errno;

use crate::sys::root::Root;

/// As many links lead on as the kernel follows.
const MOST_LINKS: usize = 40;

/// A path of a copy, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The path without what is at its end.
    path: Vec<u8>,
    /// Whether it must be a directory.
    pub(super) is_directory: bool,
    /// Whether what is in it is meant.
    pub(super) is_content: bool,
}

impl Wanted {
    /// Takes an absolute path apart.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut path = text;
        let (mut is_directory, mut is_content) = (false, false);
        loop {
            if let Some(rest) = path.strip_suffix(b"/.") {
                (path, is_directory, is_content) = (rest, true, true);
            } else if let Some(rest) = path.strip_suffix(b"/") {
                (path, is_directory) = (rest, true);
            } else {
                break;
            }
        }
        // The root has no name, nor has what is above something.
        is_content |= path.is_empty() || path.ends_with(b"/..");
        Self { path: path.to_vec(), is_directory: is_directory || is_content, is_content }
    }

    /// Returns the last part of the path.
    pub(super) fn name(&self) -> &[u8] {
        let slash = self.path.iter().rposition(|byte| *byte == b'/');
        slash.map_or(&self.path[..], |slash| &self.path[slash + 1..])
    }
}

/// Where something is, or would be.
#[derive(Debug)]
pub(super) struct Spot {
    /// The directory that it is in; it itself, if it has no name there.
    pub(super) parent: OwnedFd,
    /// Its name in that; empty for the directory itself.
    pub(super) name: Vec<u8>,
    /// Its path below the root, with no link at the end.
    pub(super) path: Vec<u8>,
    /// What is known of it; `None` if it is not there.
    pub(super) stat: Option<Stat>,
}

impl Spot {
    /// Tells whether there is a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.kind() == Some(FileType::Directory)
    }

    /// Returns what is there.
    pub(super) fn kind(&self) -> Option<FileType> {
        self.stat.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode))
    }

    /// Finds what a path means. With `follow`, a link at its end is followed, also one that leads to
    /// nothing. Fails where the directory is not there that it would be in.
    pub(super) fn find(root: &Root, wanted: &Wanted, follow: bool) -> io::Result<Self> {
        let mut path = wanted.path.clone();
        for _ in 0..MOST_LINKS {
            if wanted.is_content && path == wanted.path {
                let parent = root.dir(&path)?;
                let stat = Some(rustix::fs::fstat(&parent)?);
                return Ok(Self { parent, name: Vec::new(), path, stat });
            }
            let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let name = path[slash..].strip_prefix(b"/").unwrap_or(&path[slash..]).to_vec();
            if matches!(&*name, b"" | b"." | b"..") {
                let parent = root.dir(&path)?;
                let stat = Some(rustix::fs::fstat(&parent)?);
                return Ok(Self { parent, name: Vec::new(), path, stat });
            }
            let parent = root.dir(&path[..slash])?;
            let stat = match statat(&parent, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(error) => return Err(error.into()),
            };
            let spot = Self { parent, name, path: path.clone(), stat };
            if spot.kind() != Some(FileType::Symlink) || !(follow || wanted.is_directory) {
                return match spot.kind() {
                    Some(kind) if wanted.is_directory && kind != FileType::Directory => {
                        Err(Errno::NOTDIR.into())
                    }
                    _ => Ok(spot),
                };
            }
            let target = readlinkat(&spot.parent, spot.name.as_slice(), Vec::new())?.into_bytes();
            path = match target.first() {
                Some(b'/') => target,
                _ => [&path[..slash], b"/", &target].concat(),
            };
            while path.len() > 1 && path.ends_with(b"/") {
                path.pop();
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Opens the directory that is there.
    pub(super) fn open(&self, root: &Root) -> io::Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let name = if self.name.is_empty() { b"." } else { self.name.as_slice() };
        let opened = match self.name.is_empty() {
            true => rustix::fs::openat(&self.parent, name, flags | OFlags::CLOEXEC, Mode::empty())?,
            false => root.entry(&self.parent, name, flags)?,
        };
        Ok(Root::of(opened).with_mounts())
    }

    /// Takes the directory that it is in for a root, and returns that and the name in it.
    pub(super) fn into_root(self) -> (Root, Vec<u8>) {
        (Root::of(self.parent).with_mounts(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn takes_paths_apart() {
        for (text, path, directory, content) in [
            ("/a/b", "/a/b", false, false),
            ("/a/b/", "/a/b", true, false),
            ("/a/b/.", "/a/b", true, true),
            ("/a/b/./", "/a/b", true, true),
            ("/a//", "/a", true, false),
            ("/", "", true, true),
            ("/.", "", true, true),
            ("/a/..", "/a/..", true, true),
            ("/a.", "/a.", false, false),
        ] {
            let wanted = Wanted::of(text.as_bytes());
            assert_eq!(wanted.path, path.as_bytes(), "{text}");
            assert_eq!((wanted.is_directory, wanted.is_content), (directory, content), "{text}");
        }
        assert_eq!(Wanted::of(b"/a/b/").name(), b"b");
    }

    #[test]
    fn follows_the_last_link_inside() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("root");
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/file"), "").unwrap();
        symlink("/a/file", dir.join("absolute")).unwrap();
        symlink("../../../a/b", dir.join("a/relative")).unwrap();
        symlink("nothing", dir.join("a/dangling")).unwrap();
        symlink("round", dir.join("round")).unwrap();
        let root = Root::open(&dir).unwrap();
        let find = |path: &str, follow| {
            let spot = Spot::find(&root, &Wanted::of(path.as_bytes()), follow)?;
            io::Result::Ok((String::from_utf8(spot.name.clone()).unwrap(), spot.kind()))
        };
        for (path, follow, name, kind) in [
            ("/a/file", false, "file", Some(FileType::RegularFile)),
            ("/absolute", false, "absolute", Some(FileType::Symlink)),
            ("/absolute", true, "file", Some(FileType::RegularFile)),
            ("/a/relative", true, "b", Some(FileType::Directory)),
            ("/a/relative/", false, "b", Some(FileType::Directory)),
            ("/a/relative/.", false, "", Some(FileType::Directory)),
            ("/a/dangling", true, "nothing", None),
            ("/a/b/new", true, "new", None),
            ("/", true, "", Some(FileType::Directory)),
            ("/../..", true, "", Some(FileType::Directory)),
        ] {
            assert_eq!(find(path, follow).unwrap(), (name.to_owned(), kind), "{path}");
        }
        for path in ["/none/x", "/a/file/x", "/a/file/", "/absolute/", "/round"] {
            assert!(find(path, true).is_err(), "{path}");
        }
    }
}
