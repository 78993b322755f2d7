//! A file that takes the name of another one when it is whole.
//!
//! Until then it has no name, where the file system can do without: whoever is killed leaves nothing.
//! As the kernel links nothing over a name that is in use, it has one of its own between two system
//! calls; on file systems where a file must have a name, from its beginning. A lock on the file says
//! whether it is still somebody's: what the dead have left is removed by the next who needs its name.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, flock, fstat, linkat, openat, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;

/// As many may replace files of one directory at a moment.
const MOST: u32 = 1000;

/// A file that is yet to take its name. Dropped before, it is gone.
#[derive(Debug)]
pub struct Replacement {
    file: OwnedFd,
    /// The directory that it has a name in, and that name.
    named: Option<(OwnedFd, String)>,
}

impl Replacement {
    /// Begins a file in a directory, to be written.
    pub fn begin(here: BorrowedFd<'_>, mode: Mode) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(here, ".", flags, mode) {
            Ok(file) => {
                lock(&file);
                Ok(Self { file, named: None })
            }
            // The file system, or overlay until Linux 6.1, knows no files without names.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::begin_named(here, mode),
            Err(error) => Err(error.into()),
        }
    }

    fn begin_named(here: BorrowedFd<'_>, mode: Mode) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let make = |name: &str| openat(here, name, flags | OFlags::CLOEXEC, mode);
        loop {
            let (file, name) = with_a_name(here, make)?;
            lock(&file);
            // Somebody may have taken it for one of the dead before it was locked.
            if fstat(&file)?.st_nlink > 0 {
                let directory = here.try_clone_to_owned()?;
                return Ok(Self { file, named: Some((directory, name)) });
            }
        }
    }

    /// Returns the file.
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Puts it in the place of what has a name in the directory that it was begun in. On failure it may
    /// be tried again.
    pub fn take(&mut self, here: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        if self.named.is_none() {
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let directory = here.try_clone_to_owned()?;
            let link = |own: &str| linkat(CWD, &path, here, own, AtFlags::SYMLINK_FOLLOW);
            let ((), own) = with_a_name(here, link)?;
            self.named = Some((directory, own));
        }
        if let Some((directory, own)) = &self.named {
            renameat(directory, own.as_str(), here, name)?;
        }
        self.named = None;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if let Some((directory, own)) = &self.named {
            // What stays is removed by the next who needs its name.
            let _gone = unlinkat(directory, own.as_str(), AtFlags::empty());
        }
    }
}

/// Makes something under a name that nobody uses.
fn with_a_name<T>(
    here: BorrowedFd<'_>,
    make: impl Fn(&str) -> Result<T, Errno>,
) -> io::Result<(T, String)> {
    for number in 0..MOST {
        let name = format!(".barge-new-{number}");
        match make(&name) {
            Err(Errno::EXIST) if clear(here, &name) => match make(&name) {
                Err(Errno::EXIST) => {}
                made => return Ok((made?, name)),
            },
            Err(Errno::EXIST) => {}
            made => return Ok((made?, name)),
        }
    }
    Err(Errno::EXIST.into())
}

/// Says that a file is ours. Where it cannot be locked, nobody else can lock it either.
fn lock(file: &OwnedFd) {
    let _ours = flock(file, FlockOperation::NonBlockingLockExclusive);
}

/// Removes a file whose maker is dead; `false` if it is somebody's.
fn clear(here: BorrowedFd<'_>, name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match openat(here, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return true,
        opened => opened,
    };
    let dead = opened.and_then(|file| {
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // While it is locked nobody but us takes its name from it.
        let (locked, there) = (fstat(&file)?, statat(here, name, AtFlags::SYMLINK_NOFOLLOW)?);
        let is_it = (locked.st_dev, locked.st_ino) == (there.st_dev, there.st_ino);
        match FileType::from_raw_mode(locked.st_mode) {
            FileType::RegularFile if is_it => unlinkat(here, name, AtFlags::empty()),
            _ => Err(Errno::BUSY),
        }
    });
    dead.is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::*;

    fn names(dir: &std::path::Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_seen_until_it_is_whole() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join("file"), "old").unwrap();
        let here = fs::File::open(top.path()).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        let begin: [fn(BorrowedFd<'_>, Mode) -> io::Result<Replacement>; 2] =
            [Replacement::begin, Replacement::begin_named];
        for (round, begin) in begin.into_iter().enumerate() {
            drop(begin(here.as_fd(), mode).unwrap());
            assert_eq!(names(top.path()), ["file"]);
            let mut new = begin(here.as_fd(), mode).unwrap();
            let text = format!("new {round}");
            rustix::io::write(new.file(), text.as_bytes()).unwrap();
            assert!(!fs::read_to_string(top.path().join("file")).unwrap().contains(&text));
            new.take(here.as_fd(), b"file").unwrap();
            drop(new);
            assert_eq!(names(top.path()), ["file"]);
            assert_eq!(fs::read_to_string(top.path().join("file")).unwrap(), text);
        }
    }

    #[test]
    fn what_the_dead_have_left_goes_and_what_is_in_use_stays() {
        let top = tempfile::tempdir().unwrap();
        let here = fs::File::open(top.path()).unwrap();
        for name in ["file", ".barge-new-0", ".barge-new-2"] {
            fs::write(top.path().join(name), name).unwrap();
        }
        let mode = Mode::from_raw_mode(0o600);
        let first = Replacement::begin_named(here.as_fd(), mode).unwrap();
        let second = Replacement::begin_named(here.as_fd(), mode).unwrap();
        let mut third = Replacement::begin(here.as_fd(), mode).unwrap();
        assert_eq!(fs::metadata(top.path().join(".barge-new-0")).unwrap().len(), 0);
        third.take(here.as_fd(), b"file").unwrap();
        assert_eq!(fs::metadata(top.path().join("file")).unwrap().len(), 0);
        drop((first, second, third));
        assert_eq!(names(top.path()), ["file"]);
    }
}
