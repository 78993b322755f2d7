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
    let mut open = vec![(open_dir(parent, name)?, name.to_vec())];
    while let Some((dir, own_name)) = open.last_mut() {
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
                    deeper = Some((open_dir(dir.fd()?, entry_name)?, entry_name.to_vec()));
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(deeper) = deeper {
            open.push(deeper);
            continue;
        }
        let own_name = std::mem::take(own_name);
        open.pop();
        let above = match open.last() {
            Some((dir, _)) => dir.fd()?,
            None => parent,
        };
        unlinkat(above, own_name.as_slice(), AtFlags::REMOVEDIR)?;
    }
    Ok(())
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
}
