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
pub struct Root {
    directory: OwnedFd,
    /// Whether what is mounted in it belongs to it.
    has_mounts: bool,
}

/// File systems that the kernel makes up: what is in them is no file of anybody's.
const MADE_UP: [u32; 12] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x6270_6f6c, // configfs
    0xcafe_4a11, // bpf
    0xde5e_81e4, // efivarfs
];

impl Root {
    /// Opens a directory as a root.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::of(openat(CWD, path, flags, Mode::empty())?))
    }

    /// Takes a directory that is open as a root.
    pub fn of(directory: OwnedFd) -> Self {
        Self { directory, has_mounts: false }
    }

    /// Takes what is mounted in it for a part of it, but for what the kernel makes up.
    #[must_use]
    pub fn with_mounts(self) -> Self {
        Self { has_mounts: true, ..self }
    }

    /// Returns another descriptor of the same root.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { directory: self.directory.try_clone()?, ..*self })
    }

    /// Opens a file by its path below the root; links are followed as they would be inside.
    ///
    /// With `NOFOLLOW` the last component is taken as it is.
    pub fn file(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.directory, path, flags | OFlags::CLOEXEC, mode, resolve) {
                // Somebody renamed a directory on the way; the kernel could not be sure.
                Err(Errno::AGAIN) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Opens a file by its path below the root where no component may be a link, or a mount that is no
    /// part of it: for trees that somebody changes meanwhile.
    pub fn beneath(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        self.strictly(self.directory.as_fd(), path, flags, ResolveFlags::NO_SYMLINKS)
    }

    /// Opens what a directory below the root has under a name, as [`beneath`](Self::beneath); a link as
    /// it is, if `flags` say so.
    pub fn entry(&self, directory: impl AsFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        self.strictly(directory.as_fd(), name, flags, ResolveFlags::empty())
    }

    fn strictly(
        &self,
        from: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        more: ResolveFlags,
    ) -> io::Result<OwnedFd> {
        let mounts = if self.has_mounts { ResolveFlags::empty() } else { ResolveFlags::NO_XDEV };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | mounts | more;
        loop {
            match openat2(from, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // Somebody renamed a directory on the way; the kernel could not be sure.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Opens a directory to be listed, as [`beneath`](Self::beneath). One of a file system that the
    /// kernel makes up fails like another mount (`EXDEV`).
    pub fn listing(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let opened = self.beneath(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        if self.has_mounts {
            // The field is as wide as the machine's registers; the numbers are not.
            let magic = rustix::fs::fstatfs(&opened)?.f_type & 0xffff_ffff;
            if u32::try_from(magic).is_ok_and(|magic| MADE_UP.contains(&magic)) {
                return Err(Errno::XDEV.into());
            }
        }
        Ok(opened)
    }

    /// Opens a directory as a place to make files in; it cannot be listed.
    pub fn dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.file(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
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
