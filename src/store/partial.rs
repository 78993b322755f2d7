//! Unfinished downloads: what has come of a blob, for whoever goes on with it.
//!
//! `partial/HEX` has the first bytes of the blob with this digest. Who downloads it holds a lock on the
//! file, so that nobody else does the same work, and a process that died holds nobody up. A blob that
//! is whole moves to its place like any other draft; what turns out to be wrong is thrown away.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::blob::BlobDraft;
use super::draft::is_at;
use super::{Store, file};
use crate::error::{Context, Result};
use crate::spec::digest::Digest;

/// After so long nobody goes on with a download.
const OLD: Duration = Duration::from_hours(7 * 24);

/// A download in our hands. It stays where it is unless it is empty or has become a blob.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    /// Open for appending; holds the lock together with the drafts of it.
    file: File,
}

impl Store {
    fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    /// Takes up a download, or begins it; `None` if somebody else is at it.
    pub fn try_partial(&self, digest: &Digest) -> Result<Option<Partial>> {
        let dir = self.partials();
        file::create_dirs(&dir, 0o700)?;
        let path = dir.join(digest.hex());
        let context = || format!("cannot open {}", path.display());
        loop {
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&path)
                .context(context)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => return Ok(Some(Partial { path, file })),
                // It was finished or removed before we had the lock.
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(error).context(context),
            }
        }
    }

    /// Removes all downloads that nobody is at, and returns how many bytes that freed.
    pub fn remove_partials(&self) -> Result<u64> {
        self.remove_partials_if(|_| true)
    }

    /// As [`remove_partials`](Self::remove_partials), for those that have been forgotten.
    pub fn remove_old_partials(&self) -> Result<u64> {
        self.remove_partials_if(|metadata| {
            // A clock that was wrong makes nothing old.
            metadata.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > OLD))
        })
    }

    fn remove_partials_if(&self, is_unwanted: impl Fn(&Metadata) -> bool) -> Result<u64> {
        let dir = self.partials();
        let context = || format!("cannot list {}", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error).context(context),
        };
        let mut freed = 0;
        for entry in entries {
            let path = entry.context(context)?.path();
            let Some(size) = remove_unheld(&path, &is_unwanted)? else { continue };
            freed += size;
        }
        Ok(freed)
    }
}

/// Removes a file that nobody holds and returns its size; `None` if it stays.
fn remove_unheld(path: &Path, is_unwanted: impl Fn(&Metadata) -> bool) -> Result<Option<u64>> {
    let context = || format!("cannot look at {}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        // It was finished meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(context),
    };
    let metadata = file.metadata().context(context)?;
    let held = flock(&file, FlockOperation::NonBlockingLockExclusive).is_err();
    if held || !is_unwanted(&metadata) || !is_at(&file, path) {
        return Ok(None);
    }
    file::remove_file(path)?;
    Ok(Some(metadata.len()))
}

impl Partial {
    /// Returns how many bytes are here.
    pub fn length(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        Ok(metadata.context(|| format!("cannot look at {}", self.path.display()))?.len())
    }

    /// Opens the bytes that are here, from the first one on.
    pub fn reader(&self) -> Result<File> {
        File::open(&self.path).context(|| format!("cannot open {}", self.path.display()))
    }

    /// Returns the blob to be: it is given all bytes from the first one on, and writes those that are
    /// not here yet.
    pub fn draft<'a>(&self, store: &'a Store) -> Result<BlobDraft<'a>> {
        let file = self.file.try_clone();
        let file = file.context(|| format!("cannot open {}", self.path.display()))?;
        Ok(store.blobs().go_on(self.path.clone(), file, self.length()?))
    }

    /// Throws away what is here.
    pub fn discard(&self) -> Result<()> {
        self.file.set_len(0).context(|| format!("cannot empty {}", self.path.display()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // The lock is still held: nobody has taken it up. What cannot be looked at is left to age.
        if self.length().is_ok_and(|length| length == 0) && is_at(&self.file, &self.path) {
            drop(file::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::SystemTime;

    use super::*;
    use crate::store::blob::digest_of;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        (dir, store)
    }

    fn left(store: &Store) -> usize {
        fs::read_dir(store.partials()).unwrap().count()
    }

    #[test]
    fn goes_on_where_it_stopped() {
        let (_dir, store) = store();
        let data = b"0123456789";
        let digest = digest_of(data);
        let first = store.try_partial(&digest).unwrap().unwrap();
        assert!(store.try_partial(&digest).unwrap().is_none(), "it is held");
        first.draft(&store).unwrap().write_all(&data[..4]).unwrap();
        assert_eq!(store.remove_partials().unwrap(), 0, "it is held");
        drop(first);

        let second = store.try_partial(&digest).unwrap().unwrap();
        assert_eq!(second.length().unwrap(), 4);
        let mut here = Vec::new();
        second.reader().unwrap().read_to_end(&mut here).unwrap();
        assert_eq!(here, &data[..4]);
        let mut draft = second.draft(&store).unwrap();
        // In pieces that do not end where the first try did.
        for piece in data.chunks(3) {
            draft.write_all(piece).unwrap();
        }
        assert_eq!(draft.digest(), (digest.clone(), 10));
        let finished = draft.finish(&digest);
        drop(second);
        assert!(store.try_partial(&digest).unwrap().is_none(), "it is held until it is published");
        store.publish(vec![finished]).unwrap();
        assert_eq!(store.blobs().read(&digest).unwrap().unwrap(), data);
        assert_eq!(left(&store), 0);
        assert!(store.try_partial(&digest).unwrap().is_some());
        assert_eq!(left(&store), 0, "an empty one does not stay");
    }

    #[test]
    fn removes_what_nobody_wants() {
        let (_dir, store) = store();
        assert_eq!(store.remove_partials().unwrap(), 0);
        for text in ["old", "young"] {
            let partial = store.try_partial(&digest_of(text.as_bytes())).unwrap().unwrap();
            partial.draft(&store).unwrap().write_all(text.as_bytes()).unwrap();
            if text == "old" {
                let time = SystemTime::now() - OLD - Duration::from_secs(60);
                partial.file.set_modified(time).unwrap();
            }
        }
        assert_eq!(store.remove_old_partials().unwrap(), 3);
        assert_eq!(left(&store), 1);
        let young = store.try_partial(&digest_of(b"young")).unwrap().unwrap();
        young.discard().unwrap();
        assert_eq!(young.length().unwrap(), 0);
        drop(young);
        assert_eq!(left(&store), 0);
        drop(store.try_partial(&digest_of(b"other")).unwrap().unwrap().draft(&store).unwrap());
        assert_eq!(store.remove_partials().unwrap(), 0);
    }
}
