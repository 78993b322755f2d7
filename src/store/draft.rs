//! Things being made: temporary entries that nobody else can take for finished ones.
//!
//! A draft lies in `tmp/` and is locked by its maker for as long as it lives. Its drop removes it; if
//! the maker dies first, the lock is free and [`Store::gc_tmp`] removes it. A finished draft is moved
//! to its place by [`Store::publish`] after its data reached the disk, so what is in place is whole, or by
//! [`Store::publish_soon`], which leaves a mark until then.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, syncfs};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::{Store, file};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::to_hex;

/// A file or a directory that is being made.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    /// The file or directory itself; holds the lock.
    file: File,
    /// Whether it stays for others when it is given up.
    stays: bool,
}

/// A directory that was taken out of its place, to be erased. It is locked until then, so that it is
/// erased once; if its holder dies, [`Store::gc_tmp`] goes on.
#[derive(Debug)]
#[must_use]
pub(super) struct Gone {
    path: PathBuf,
    /// The directory itself; holds the lock.
    _lock: File,
}

impl Gone {
    /// Erases it.
    pub(super) fn erase(self) -> Result<()> {
        file::remove_tree(&self.path)
    }
}

/// A draft that is complete, and where it belongs.
#[derive(Debug)]
pub struct Finished {
    draft: Draft,
    /// `None`: it was needed on the way only.
    place: Option<PathBuf>,
}

impl Finished {
    /// Returns where it belongs, if it is to stay.
    pub(super) fn place(&self) -> Option<&Path> {
        self.place.as_deref()
    }
}

impl Draft {
    /// Returns where it lies for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the open file; for a directory it is good for reading only.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes a draft of a file that is locked already, and stays where it is unless it is published.
    pub(super) fn of_partial(path: PathBuf, file: File) -> Self {
        Self { path, file, stays: true }
    }

    /// Declares it complete and names its place.
    pub(super) fn finish(self, place: PathBuf) -> Finished {
        Finished { draft: self, place: Some(place) }
    }

    /// Declares that it is not needed any more once others are in their places.
    pub(super) fn finish_spent(self) -> Finished {
        Finished { draft: self, place: None }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // Best effort, and nothing to do after it was moved to its place: what is left behind here is
        // found by the next `gc_tmp`, as the lock goes with this.
        drop(file::remove_tree(&self.path).or_else(|_| file::remove_file(&self.path)));
    }
}

impl Store {
    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Begins a file.
    pub fn draft_file(&self) -> Result<Draft> {
        self.draft_marked("")
    }

    /// Begins a file whose name ends with `mark`, for others to know it by.
    pub(super) fn draft_marked(&self, mark: &str) -> Result<Draft> {
        self.draft(mark, |path| {
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
        })
    }

    /// Begins a directory.
    pub fn draft_dir(&self) -> Result<Draft> {
        self.draft("", |path| {
            fs::create_dir(path)?;
            File::open(path)
        })
    }

    fn draft(&self, mark: &str, make: impl Fn(&Path) -> std::io::Result<File>) -> Result<Draft> {
        loop {
            let path = self.tmp().join(random_name()? + mark);
            let context = || format!("cannot make {}", path.display());
            let file = match make(&path) {
                Ok(file) => file,
                // A collector took it before it was opened, or the name is in use.
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists)
                        && self.tmp().exists() =>
                {
                    continue;
                }
                Err(error) => return Err(error).context(context),
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => return Ok(Draft { path, file, stays: false }),
                // A collector was faster than the lock.
                Ok(()) | Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error).context(context),
            }
        }
    }

    /// Sends to the disk what was written until now.
    pub fn flush(&self) -> Result<()> {
        let context = || format!("cannot write {} to the disk", self.root.display());
        let root = File::open(&self.root).context(context)?;
        syncfs(&root).context(context)
    }

    /// Makes drafts durable and moves them to their places, all of them with one flush.
    ///
    /// A layer or blob that somebody else published meanwhile is the same one; ours is dropped.
    pub fn publish(&self, finished: Vec<Finished>) -> Result<()> {
        let Some(first) = finished.first() else { return Ok(()) };
        syncfs(&first.draft.file)
            .context(|| format!("cannot write {} to the disk", self.root.display()))?;
        for parent in Self::move_in(&finished)? {
            File::open(&parent)
                .and_then(|dir| dir.sync_all())
                .context(|| format!("cannot write {} to the disk", parent.display()))?;
        }
        Ok(())
    }

    /// Moves drafts to their places; returns the directories of these. Locks stay: who waits for a blob
    /// also wants the layer.
    pub(super) fn move_in(finished: &[Finished]) -> Result<Vec<PathBuf>> {
        let mut parents: Vec<PathBuf> = Vec::new();
        for Finished { draft, place } in finished {
            let Some(place) = place else {
                file::remove_file(&draft.path)?;
                continue;
            };
            let context = || format!("cannot move {} into place", place.display());
            match fs::rename(&draft.path, place) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty
                    ) => {}
                Err(error) => return Err(error).context(context),
            }
            if let Some(parent) = place.parent()
                && !parents.iter().any(|known| known == parent)
            {
                parents.push(parent.to_owned());
            }
        }
        Ok(parents)
    }

    /// Removes what dead processes left behind in `tmp/`.
    pub fn gc_tmp(&self) -> Result<()> {
        let dir = self.tmp();
        let context = || format!("cannot list {}", dir.display());
        for entry in fs::read_dir(&dir).context(context)? {
            let path = entry.context(context)?.path();
            let Ok(file) = File::open(&path) else { continue };
            // Held: somebody works on it.
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let is_dir = file.metadata().is_ok_and(|metadata| metadata.is_dir());
            if is_dir { file::remove_tree(&path)? } else { file::remove_file(&path)? }
        }
        Ok(())
    }

    /// Takes a directory out of its place, whole; `None` if it is not there.
    pub(super) fn take_away(&self, place: &Path) -> Result<Option<Gone>> {
        let context = || format!("cannot remove {}", place.display());
        let lock = match File::open(place) {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(context),
        };
        // Only who has just put it there may hold its lock, for a moment.
        rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))
            .context(context)?;
        let path = self.tmp().join(random_name()?);
        match fs::rename(place, &path) {
            Ok(()) => Ok(Some(Gone { path, _lock: lock })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(context),
        }
    }
}

pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

/// Makes a name that nobody else makes.
pub(super) fn random_name() -> Result<String> {
    let mut bytes = [0; 12];
    fill_random(&mut bytes)?;
    Ok(to_hex(&bytes))
}

/// Fills a few bytes at random.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    match getrandom(&mut *bytes, GetRandomFlags::empty()) {
        Ok(length) if length == bytes.len() => Ok(()),
        Ok(_) => Err(Error::new(Kind::Internal, "cannot get random bytes")),
        Err(error) => Err(error).context(|| "cannot get random bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        (dir, store)
    }

    fn left(store: &Store) -> usize {
        fs::read_dir(store.tmp()).unwrap().count()
    }

    #[test]
    fn a_dropped_draft_leaves_nothing() {
        let (_dir, store) = store();
        let draft = store.draft_dir().unwrap();
        fs::write(draft.path().join("file"), "x").unwrap();
        let file = store.draft_file().unwrap();
        assert_eq!(left(&store), 2);
        store.gc_tmp().unwrap();
        assert_eq!(left(&store), 2, "living drafts are left alone");
        drop((draft, file));
        assert_eq!(left(&store), 0);
    }

    #[test]
    fn collects_what_nobody_holds() {
        let (_dir, store) = store();
        fs::create_dir_all(store.tmp().join("dead/sub")).unwrap();
        fs::write(store.tmp().join("dead/sub/file"), "x").unwrap();
        fs::write(store.tmp().join("dead-file"), "x").unwrap();
        store.gc_tmp().unwrap();
        assert_eq!(left(&store), 0);
    }

    #[test]
    fn publishes_whole_directories_once() {
        let (_dir, store) = store();
        let place = store.root.join("layers/x");
        for text in ["first", "second"] {
            let draft = store.draft_dir().unwrap();
            fs::write(draft.path().join("file"), text).unwrap();
            store.publish(vec![draft.finish(place.clone())]).unwrap();
        }
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "first");
        assert_eq!(left(&store), 0);
    }
}
