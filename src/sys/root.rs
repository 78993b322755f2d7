//! Files beneath a directory descriptor, for trees that somebody else may have shaped.
//!
//! A path is resolved as if the directory were `/`: absolute links and `..` stay inside, and the
//! kernel sees to it (`openat2`, since 5.6). Nothing here joins paths as text.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, unlinkat,
};
use rustix::io::Errno;

/// A directory that is the root of all that is opened by way of it.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens a directory as a root.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    /// Takes a directory that is open as a root.
    pub fn of(directory: OwnedFd) -> Self {
        Self(directory)
    }

    /// Opens a file by its path below the root; links are followed as they would be inside.
    ///
    /// With `NOFOLLOW` the last component is taken as it is.
    pub fn file(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.0, path, flags | OFlags::CLOEXEC, mode, resolve) {
                // Somebody renamed a directory on the way; the kernel could not be sure.
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Opens a file by its path below the root where no component may be a link or a mount: for trees
    /// that somebody changes meanwhile.
    pub fn beneath(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        loop {
            match openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // Somebody renamed a directory on the way; the kernel could not be sure.
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Opens a directory as a place to make files in; it cannot be listed.
    pub fn dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.file(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a directory; one that is there is fine, anything else of that name is an error.
pub fn make_dir(parent: BorrowedFd<'_>, name: &[u8], mode: Mode) -> io::Result<()> {
    match mkdirat(parent, name, mode) {
        Err(Errno::EXIST) => {
            let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => Ok(()),
                _ => Err(Errno::NOTDIR.into()),
            }
        }
        other => Ok(other?),
    }
}

/// Removes a file, or a directory with all that is below it. Links are removed, never followed.
pub fn remove_all(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return Ok(other?),
    }
    // A list of open directories in place of recursion: depth is the archive's choice, the stack ours.
    let mut open = vec![Level::open(parent, name)?];
    while let Some(level) = open.last_mut() {
        let Some(dir) = &mut level.dir else { return Err(Errno::STALE.into()) };
        let mut deeper = None;
        while let Some(entry) = dir.read() {
            let entry = entry?;
            let entry_name = entry.file_name().to_bytes();
            if matches!(entry_name, b"." | b"..") {
                continue;
            }
            match unlinkat(dir.fd()?, entry_name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => {
                    deeper = Some(Level::open(dir.fd()?, entry_name)?);
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(deeper) = deeper {
            open.push(deeper);
            // As many descriptors as the tree is deep are more than a process may have.
            if let Some(number) = open.len().checked_sub(MAX_OPEN + 1) {
                open[number].dir = None;
            }
            continue;
        }
        let Some(done) = open.pop() else { break };
        if let (Some(above), Some(dir)) = (open.last_mut(), &done.dir) {
            above.reopen_from(dir)?;
        }
        let above = match open.last() {
            Some(Level { dir: Some(dir), .. }) => dir.fd()?,
            _ => parent,
        };
        unlinkat(above, done.name.as_slice(), AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Directories that are open at once while a tree is removed.
const MAX_OPEN: usize = 64;

/// A directory on the way to what is removed.
struct Level {
    /// Closed if too many are below it.
    dir: Option<Dir>,
    name: Vec<u8>,
    /// Device and inode.
    identity: (u64, u64),
}

impl Level {
    fn open(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Self> {
        let dir = open_dir(parent, name)?;
        let found = dir.stat()?;
        Ok(Self { dir: Some(dir), name: name.to_vec(), identity: (found.st_dev, found.st_ino) })
    }

    /// Opens it again if it was closed, from a directory in it.
    fn reopen_from(&mut self, below: &Dir) -> io::Result<()> {
        if self.dir.is_some() {
            return Ok(());
        }
        let dir = open_dir(below.fd()?, b"..")?;
        let found = dir.stat()?;
        // Somebody may have moved what is below to another place, where nothing is to be removed.
        if (found.st_dev, found.st_ino) != self.identity {
            return Err(Errno::STALE.into());
        }
        self.dir = Some(dir);
        Ok(())
    }
}

fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(Dir::new(openat(parent, OsStr::from_bytes(name), flags, Mode::empty())?)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn stays_inside() {
        let top = tempfile::tempdir().unwrap();
        let inside = top.path().join("inside");
        fs::create_dir_all(inside.join("etc")).unwrap();
        fs::write(inside.join("etc/file"), "inside").unwrap();
        fs::create_dir(top.path().join("etc")).unwrap();
        fs::write(top.path().join("etc/file"), "outside").unwrap();
        symlink("/etc", inside.join("absolute")).unwrap();
        symlink("../../../etc", inside.join("relative")).unwrap();
        let root = Root::open(&inside).unwrap();
        for path in ["etc/file", "/etc/file", "../etc/file", "absolute/file", "relative/file"] {
            let file = root.file(path.as_bytes(), OFlags::RDONLY, Mode::empty()).unwrap();
            let mut text = String::new();
            fs::File::from(file).read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside", "{path}");
        }
    }

    #[test]
    fn removes_deep_trees_and_no_more() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join("kept"), "x").unwrap();
        let mut deep = top.path().join("tree");
        for _ in 0..60 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        symlink("/", deep.join("link")).unwrap();
        fs::write(top.path().join("tree/d/file"), "x").unwrap();
        let root = Root::open(top.path()).unwrap();
        remove_all(root.as_fd(), b"tree").unwrap();
        assert!(!top.path().join("tree").exists());
        assert!(top.path().join("kept").exists());
    }

    #[test]
    fn removes_what_is_deeper_than_descriptors_reach() {
        let top = tempfile::tempdir().unwrap();
        let top_fd = Root::open(top.path()).unwrap();
        let mut here = open_dir(top_fd.as_fd(), b".").unwrap();
        for _ in 0..3000 {
            mkdirat(here.fd().unwrap(), "f", Mode::from_raw_mode(0o700)).unwrap();
            mkdirat(here.fd().unwrap(), "d", Mode::from_raw_mode(0o700)).unwrap();
            here = open_dir(here.fd().unwrap(), b"d").unwrap();
        }
        drop(here);
        remove_all(top_fd.as_fd(), b"d").unwrap();
        remove_all(top_fd.as_fd(), b"f").unwrap();
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
    }
}
