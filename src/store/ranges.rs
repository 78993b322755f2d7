//! Ranges of IDs that containers have to themselves.
//!
//! `userns/START-COUNT` is a symbolic link to the ID of the container that has the range. One whose
//! container is gone is free. Who looks for a free one holds the lock `userns.lock` until the
//! container is on record. What is no container and needs a range for a while, as a build, has a file
//! of that name instead, and its lock: a file whose lock nobody holds is free.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::lock::Lock;
use super::{Store, file};
use crate::error::{Context, Result};
use crate::spec::id::ContainerId;

/// A range for a container that is about to be recorded.
#[derive(Debug)]
pub struct Reservation {
    dir: PathBuf,
    start: u32,
    count: u32,
    _lock: Lock,
}

impl Reservation {
    /// Returns the first ID.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// Records whose it is.
    pub fn hold(&self, id: &ContainerId) -> Result<()> {
        let path = self.dir.join(format!("{}-{}", self.start, self.count));
        std::os::unix::fs::symlink(id.as_str(), &path)
            .context(|| format!("cannot write {}", path.display()))
    }
}

/// A range that is ours as long as this is there.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What cannot be removed is found not to be locked.
        drop(file::remove_file(&self.path));
    }
}

impl Reservation {
    /// Keeps the range until the lease is dropped, and lets others look for theirs.
    pub fn lease(self) -> Result<Lease> {
        let path = self.dir.join(format!("{}-{}", self.start, self.count));
        let lock = Lock::exclusive(&path)?;
        Ok(Lease { path, _lock: lock })
    }
}

impl Store {
    /// Finds a range of a pool (first IDs and how many) that no container has; `None` if there is none.
    pub fn reserve_ids(&self, pool: &[(u32, u32)], count: u32) -> Result<Option<Reservation>> {
        let dir = self.root().join("userns");
        file::create_dirs(&dir, 0o700)?;
        let lock = Lock::exclusive(&self.root().join("userns.lock"))?;
        let context = || format!("cannot list {}", dir.display());
        let mut taken = Vec::new();
        for entry in fs::read_dir(&dir).context(context)? {
            let path = entry.context(context)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let range = name.split_once('-').and_then(|(start, count)| {
                Some((start.parse::<u64>().ok()?, count.parse::<u64>().ok()?))
            });
            let holder: Option<ContainerId> =
                fs::read_link(&path).ok().and_then(|id| id.to_str()?.parse().ok());
            let alive = match holder {
                Some(id) => self.containers().dir(&id).exists(),
                None => !path.is_symlink() && Lock::is_held(&path)?,
            };
            match range {
                Some(range) if alive => taken.push(range),
                _ => file::remove_file(&path)?,
            }
        }
        taken.sort_unstable();
        let start = pool.iter().find_map(|pool| first_gap(*pool, &taken, count));
        Ok(start.map(|start| Reservation { dir, start, count, _lock: lock }))
    }

    /// Frees the range of a container that is gone.
    pub(super) fn free_ids(&self, start: u32, count: u32) -> Result<()> {
        match fs::remove_file(self.root().join("userns").join(format!("{start}-{count}"))) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context(|| format!("cannot free the IDs from {start} on"))
            }
            _ => Ok(()),
        }
    }
}

fn first_gap((first, size): (u32, u32), taken: &[(u64, u64)], count: u32) -> Option<u32> {
    let end = u64::from(first) + u64::from(size);
    let mut start = u64::from(first);
    for (other, length) in taken {
        if start + u64::from(count) <= *other {
            break;
        }
        start = start.max(other + length);
    }
    (start + u64::from(count) <= end).then(|| u32::try_from(start).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_gaps() {
        for (taken, count, want) in [
            (&[][..], 10, Some(100)),
            (&[(100, 10)], 10, Some(110)),
            (&[(110, 10)], 10, Some(100)),
            (&[(105, 10)], 10, Some(115)),
            (&[(100, 10), (110, 90)], 1, None),
            (&[(0, 50), (150, 10)], 60, None),
            (&[(0, 150)], 50, Some(150)),
        ] {
            assert_eq!(first_gap((100, 100), taken, count), want, "{taken:?} {count}");
        }
    }
}
