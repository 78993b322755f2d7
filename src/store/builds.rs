//! What steps of builds have made, so that the next build need not do it again.
//!
//! A record is named by the hash of all that the step depends on. As long as it is there its layer is
//! no garbage. Whoever makes the same again replaces it.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::garbage::Parts;
use super::lock::Lock;
use super::{Store, file};
use crate::error::{Context, Result};
use crate::spec::digest::{DiffId, Digest};

/// What a step has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// Its layer; none if it changed nothing.
    pub layer: Option<DiffId>,
    /// When, as RFC 3339.
    pub created: String,
    /// The instruction, for people.
    pub step: String,
    /// What the key was made of, one part a line: why another build finds it or not.
    #[serde(default)]
    pub parts: Vec<(String, String)>,
}

/// How the names of locks of caches end.
const LOCK: &str = ".lock";

/// A cache that is in use as long as this is there.
#[derive(Debug)]
pub struct Cache {
    /// Its directory, which may have to be made.
    pub path: PathBuf,
    _lock: Lock,
}

/// All that steps have made.
#[derive(Clone, Copy, Debug)]
pub struct Builds<'a> {
    store: &'a Store,
}

impl<'a> Builds<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    fn dir(&self) -> PathBuf {
        self.store.root.join("builds")
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.dir().join(format!("{}.json", key.hex()))
    }

    /// Returns what a step has made, if it is still here.
    pub fn get(&self, key: &Digest) -> Option<Built> {
        // One that a crash has damaged is none.
        let found: Option<Built> = file::read_json(&self.path(key)).ok().flatten();
        let is_here = |built: &Built| {
            built.layer.as_ref().is_none_or(|layer| self.store.layers().is_wanted(layer))
        };
        found.filter(is_here)
    }

    /// Records what a step has made. Its layer is in its place.
    pub fn put(&self, key: &Digest, built: &Built) -> Result<()> {
        file::create_dirs(&self.dir(), 0o700)?;
        // Several builds may make the same at once, and have one name for what is not whole yet.
        let _alone = Lock::exclusive(&self.dir().join("lock"))?;
        // Lost in a crash, it is made again.
        file::write_json_volatile(&self.path(key), built)
    }

    /// Returns all records, with the time of their last use in nanoseconds since 1970.
    pub fn list(&self) -> Result<Vec<(Digest, Built)>> {
        let dir = self.dir();
        let context = || format!("cannot list {}", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(context),
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.context(context)?.file_name();
            let hex = name.to_str().and_then(|name| name.strip_suffix(".json"));
            let Some(Ok(key)) = hex.map(Digest::from_hex) else { continue };
            // One that is damaged or gone is none.
            if let Ok(Some(built)) = file::read_json::<Built>(&self.path(&key)) {
                all.push((key, built));
            }
        }
        Ok(all)
    }

    /// Forgets what a step has made.
    pub fn remove(&self, key: &Digest) -> Result<()> {
        file::remove_file(&self.path(key))
    }

    /// Adds the layers that are in use, and what they came as: those of a cache from elsewhere cannot be
    /// given away without.
    pub(super) fn add_roots(&self, live: &mut Parts) -> Result<()> {
        for layer in self.list()?.into_iter().filter_map(|(_, built)| built.layer) {
            let packed = self.store.layers().packed(&layer)?;
            live.blobs.extend(packed.into_iter().map(|packed| packed.digest));
            live.layers.insert(layer);
        }
        Ok(())
    }

    /// Takes a cache that commands see by `RUN --mount=type=cache`; `None` if others use it in a way that
    /// leaves nobody in beside them.
    ///
    /// There may be several of a name, numbered from 0: who wants one alone and does not wait takes the
    /// next.
    pub fn take_cache(&self, name: &str, number: usize, alone: bool) -> Result<Option<Cache>> {
        let hex = super::blob::digest_of(name.as_bytes());
        let path = match number {
            0 => self.caches().join(hex.hex()),
            number => self.caches().join(format!("{}.{number}", hex.hex())),
        };
        file::create_dirs(&self.caches(), 0o700)?;
        let lock = path.with_file_name(format!("{}.{number}{LOCK}", hex.hex()));
        loop {
            let taken = match alone {
                true => Lock::try_exclusive(&lock)?,
                false => Lock::try_shared(&lock)?,
            };
            match taken {
                // It was removed with its cache as we took it.
                Some(taken) if !taken.is_at(&lock) => {}
                taken => return Ok(taken.map(|lock| Cache { path, _lock: lock })),
            }
        }
    }

    /// Removes all such caches that nobody uses, with their locks: who takes one looks whether it is still
    /// there.
    pub fn remove_caches(&self) -> Result<()> {
        let dir = self.caches();
        let context = || format!("cannot list {}", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context(context),
        };
        for entry in entries {
            let path = entry.context(context)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let cache = name.strip_suffix(LOCK).unwrap_or(&name);
            let (hex, number) = cache.split_once('.').unwrap_or((cache, "0"));
            let lock = dir.join(format!("{hex}.{number}{LOCK}"));
            if let Some(_unused) = Lock::try_exclusive(&lock)? {
                let tree = if number == "0" { hex.to_owned() } else { format!("{hex}.{number}") };
                file::remove_tree(&dir.join(tree))?;
                file::remove_file(&lock)?;
            }
        }
        // One that is in use stays, and so does its directory.
        drop(fs::remove_dir(&dir));
        Ok(())
    }

    /// Returns the directory of all such caches.
    pub fn caches(&self) -> PathBuf {
        self.store.root.join("caches")
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::tests::{layer, store};
    use super::*;
    use crate::store::blob::digest_of;

    #[test]
    fn keeps_layers_until_forgotten() {
        let (_dir, store) = store();
        let mine = layer(&store, 'a');
        let key = digest_of(b"key");
        let built = Built {
            layer: Some(mine.clone()),
            created: "2024-05-01T10:00:00Z".to_owned(),
            step: "RUN x".to_owned(),
            parts: Vec::new(),
        };
        store.builds().put(&key, &built).unwrap();
        assert_eq!(store.builds().get(&key), Some(built.clone()));
        assert_eq!(store.builds().list().unwrap(), [(key.clone(), built)]);
        let lock = store.exclusive().unwrap();
        store.collect_garbage(&lock).unwrap().erase().unwrap();
        assert!(store.layers().exists(&mine));
        store.builds().remove(&key).unwrap();
        store.collect_garbage(&lock).unwrap().erase().unwrap();
        assert!(!store.layers().exists(&mine));
        assert_eq!(store.builds().get(&key), None);
    }
}
