//! The directories on the way to where an archive's entries are, kept open as long as they are of use.
//!
//! Archives go directory by directory, so each step down or up is one name for the kernel to look up,
//! below a directory that is open. Links on the way are the exception: what is behind one is resolved
//! by the kernel with the layer as root.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat, readlink};
use rustix::io::Errno;

use crate::sys::root::Root;

/// Directories that are open at once; those that are higher up are closed.
const MOST_OPEN: usize = 16;
/// Bytes of a path that the kernel takes.
const LONGEST_PATH: usize = 4095;

/// A directory of the layer, and the way to it.
pub(super) struct Trail {
    root: Root,
    /// Where paths begin: a path below the root, and what is there; the root itself if there is none.
    base: Option<(Vec<u8>, OwnedFd)>,
    path: Vec<u8>,
    /// The innermost is the last one.
    levels: VecDeque<Level>,
}

struct Level {
    /// How much of the path leads here.
    end: usize,
    directory: OwnedFd,
    /// Whether no link is on the way.
    is_direct: bool,
}

/// A name that could not be opened as a directory.
pub(super) struct Obstacle {
    /// Where its own path ends.
    pub(super) end: usize,
    pub(super) error: Errno,
}

impl Trail {
    pub(super) fn new(root: Root) -> Self {
        Self { root, base: None, path: Vec::new(), levels: VecDeque::new() }
    }

    /// Begins at a directory below the root; links lead into the root all the same.
    pub(super) fn below(root: Root, base: Vec<u8>) -> io::Result<Self> {
        let directory = root.dir(&base)?;
        Ok(Self { base: Some((base, directory)), ..Self::new(root) })
    }

    /// Returns what links lead into.
    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Opens a directory by its path, whatever links are on the way.
    pub(super) fn directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        match &self.base {
            Some((base, _)) => self.root.dir(&[base, &b"/"[..], path].concat()),
            None => self.root.dir(path),
        }
    }

    /// Returns the path of the directory where the trail ends.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Returns the directory where the trail ends.
    pub(super) fn here(&self) -> BorrowedFd<'_> {
        match self.levels.back() {
            Some(level) => level.directory.as_fd(),
            None => self.base.as_ref().map_or(self.root.as_fd(), |(_, base)| base.as_fd()),
        }
    }

    /// Forgets what is open: paths may lead elsewhere now.
    pub(super) fn forget(&mut self) {
        self.levels.clear();
        self.path.clear();
    }

    /// Goes to a directory, or as near as possible: then the trail ends before the obstacle.
    pub(super) fn go(&mut self, path: &[u8]) -> io::Result<Option<Obstacle>> {
        if path.len() > LONGEST_PATH {
            return Err(Errno::NAMETOOLONG.into());
        }
        self.go_back(path);
        while self.path.len() < path.len() {
            let parent = self.path.len();
            let begin = if parent == 0 { 0 } else { parent + 1 };
            let length = path[begin..].iter().position(|byte| *byte == b'/');
            let end = length.map_or(path.len(), |length| begin + length);
            match self.step(&path[begin..end]) {
                Ok(()) => {}
                Err(Errno::NOTDIR | Errno::LOOP) => match self.directory(&path[..end]) {
                    Ok(directory) => self.push(&path[begin..end], directory, false),
                    Err(error) => {
                        let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                        let error = if error == Errno::NOENT { Errno::NOTDIR } else { error };
                        return Ok(Some(Obstacle { end, error }));
                    }
                },
                Err(error) => return Ok(Some(Obstacle { end, error })),
            }
        }
        Ok(None)
    }

    /// Goes to the part of a path that is open.
    fn go_back(&mut self, path: &[u8]) {
        while let Some(level) = self.levels.back() {
            let end = level.end;
            let is_above = path.get(..end) == Some(&self.path[..end])
                && path.get(end).is_none_or(|next| *next == b'/');
            if is_above {
                break;
            }
            self.levels.pop_back();
        }
        self.path.truncate(self.levels.back().map_or(0, |level| level.end));
    }

    /// Goes to a directory that is here; a link is none.
    pub(super) fn step(&mut self, name: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(self.here(), name, flags, Mode::empty())?;
        let is_direct = self.levels.back().is_none_or(|level| level.is_direct);
        self.push(name, directory, is_direct);
        Ok(())
    }

    fn push(&mut self, name: &[u8], directory: OwnedFd, is_direct: bool) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        if self.levels.len() == MOST_OPEN {
            self.levels.pop_front();
        }
        self.levels.push_back(Level { end: self.path.len(), directory, is_direct });
    }

    /// Returns the path below the root, without links on the way, of what has this name here.
    pub(super) fn real_path(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let mut path = match self.levels.back() {
            Some(level) if !level.is_direct => self.resolved()?,
            _ => self.path.clone(),
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Ok(path)
    }

    fn resolved(&self) -> io::Result<Vec<u8>> {
        let real = |fd: BorrowedFd<'_>| readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), []);
        let root = real(self.root.as_fd())?.into_bytes();
        let here = real(self.here())?.into_bytes();
        let below = here.strip_prefix(root.as_slice()).ok_or(Errno::NOENT)?;
        Ok(below.strip_prefix(b"/").unwrap_or(below).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::mkdirat;

    use super::*;

    fn trail() -> (tempfile::TempDir, Trail) {
        let top = tempfile::tempdir().unwrap();
        let trail = Trail::new(Root::open(top.path()).unwrap());
        (top, trail)
    }

    #[test]
    fn goes_where_paths_lead() {
        let (top, mut trail) = trail();
        fs::create_dir_all(top.path().join("a/b/c")).unwrap();
        fs::create_dir_all(top.path().join("a/bc")).unwrap();
        fs::write(top.path().join("a/file"), "").unwrap();
        symlink("/a/b", top.path().join("link")).unwrap();
        symlink("../../..", top.path().join("a/b/out")).unwrap();
        symlink("nowhere", top.path().join("a/dangling")).unwrap();
        for (path, real) in [
            ("a/b/c", "a/b/c/x"),
            ("a/bc", "a/bc/x"),
            ("a/b", "a/b/x"),
            ("", "x"),
            ("link/c", "a/b/c/x"),
            ("link", "a/b/x"),
            ("a/b/out/a/bc", "a/bc/x"),
            ("a/b/c", "a/b/c/x"),
        ] {
            assert!(trail.go(path.as_bytes()).unwrap().is_none(), "{path}");
            assert_eq!(trail.path(), path.as_bytes());
            assert_eq!(trail.real_path(b"x").unwrap(), real.as_bytes(), "{path}");
            assert_eq!(
                trail.resolved().unwrap(),
                real.strip_suffix("x").unwrap().trim_end_matches('/').as_bytes()
            );
        }
        for (path, parent, end, want) in [
            ("a/none/x", 1, 6, Errno::NOENT),
            ("a/file/x", 1, 6, Errno::NOTDIR),
            ("a/dangling", 1, 10, Errno::NOTDIR),
            ("none", 0, 4, Errno::NOENT),
        ] {
            let obstacle = trail.go(path.as_bytes()).unwrap().unwrap();
            assert_eq!((obstacle.end, obstacle.error), (end, want), "{path}");
            assert_eq!(trail.path(), &path.as_bytes()[..parent]);
        }
        assert!(trail.go(&[b'x'; 5000]).is_err());
    }

    #[test]
    fn depth_takes_no_more_descriptors() {
        let (_top, mut trail) = trail();
        let path = ["d"; 1500].join("/");
        while let Some(obstacle) = trail.go(path.as_bytes()).unwrap() {
            assert_eq!(obstacle.error, Errno::NOENT);
            mkdirat(trail.here(), "d", Mode::from_raw_mode(0o700)).unwrap();
        }
        assert_eq!(trail.path(), path.as_bytes());
        assert_eq!(trail.levels.len(), MOST_OPEN);
        assert!(trail.go(b"d/d").unwrap().is_none());
        assert_eq!(trail.path(), b"d/d");
        assert_eq!(trail.levels.len(), 2);
    }
}
