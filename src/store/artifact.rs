//! Artifacts: files that registries keep as they keep images.
//!
//! `artifacts/HEX.json` is one name of an artifact, HEX the SHA-256 of that name: a name is unique, and
//! what it leads to is replaced whole. The manifest and the files are blobs. Names of artifacts have
//! nothing to do with names of images. Whoever changes a record holds `artifacts.lock`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::blob::digest_of;
use super::garbage::Parts;
use super::lock::Lock;
use super::{Store, file};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::spec::id::is_hex;
use crate::spec::oci::Manifest;
use crate::spec::reference::Reference;

/// Fewer digits are no digest.
const MIN_PREFIX: usize = 3;

/// An artifact, under one of its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name.
    pub name: Reference,
    /// Digest of its manifest.
    pub digest: Digest,
    /// All its blobs: manifest, configuration, files.
    pub blobs: Vec<Digest>,
}

impl Artifact {
    /// Returns all that it consists of.
    pub fn parts(&self) -> Parts {
        Parts::of(&[], &self.blobs)
    }
}

/// All artifacts of a store.
#[derive(Clone, Copy, Debug)]
pub struct Artifacts<'a> {
    store: &'a Store,
}

impl<'a> Artifacts<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    fn directory(&self) -> PathBuf {
        self.store.root.join("artifacts")
    }

    fn record(&self, name: &Reference) -> PathBuf {
        let key = digest_of(name.to_string().as_bytes());
        self.directory().join(format!("{}.json", key.hex()))
    }

    fn lock(&self) -> Result<Lock> {
        Lock::exclusive(&self.store.root.join("artifacts.lock"))
    }

    /// Reads the artifact of a complete name.
    pub fn named(&self, name: &Reference) -> Result<Option<Artifact>> {
        file::read_json(&self.record(name))
    }

    /// Finds an artifact by what a user may write: a name, a digest or the beginning of one.
    pub fn find(&self, text: &str) -> Result<Option<Artifact>> {
        let candidates = Reference::candidates(text);
        for name in candidates.as_deref().unwrap_or_default() {
            if let Some(artifact) = self.named(name)? {
                return Ok(Some(artifact));
            }
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if is_hex(hex) && hex.len() >= MIN_PREFIX {
            let mut found = self.list()?;
            found.retain(|artifact| artifact.digest.hex().starts_with(hex));
            // The same one may have several names.
            if found.iter().any(|other| other.digest != found[0].digest) {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("more than one artifact has a digest that begins with `{hex}`"),
                )
                .hint("give more digits of the digest"));
            }
            return Ok(found.into_iter().next());
        }
        // What cannot be a name is the user's mistake, not a missing artifact.
        candidates.map(|_| None)
    }

    /// As [`find`](Self::find); a missing artifact is an error.
    pub fn lookup(&self, text: &str) -> Result<Artifact> {
        self.find(text)?.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("{text}: artifact does not exist"))
                .hint("`barge artifact ls` shows what there is")
        })
    }

    /// Reads an artifact's manifest, and its bytes.
    pub fn manifest(&self, artifact: &Artifact) -> Result<(Manifest, Vec<u8>)> {
        let missing = || {
            Error::new(
                Kind::NotFound,
                format!("the manifest of artifact {} is missing", artifact.name),
            )
            .hint("remove the artifact and add or pull it again")
        };
        let data = self.store.blobs().read(&artifact.digest)?.ok_or_else(missing)?;
        let manifest = serde_json::from_slice(&data)
            .context(|| format!("the manifest of artifact {} is damaged", artifact.name))?;
        Ok((manifest, data))
    }

    /// Reads all artifacts, by name.
    pub fn list(&self) -> Result<Vec<Artifact>> {
        let mut artifacts = Vec::new();
        for key in file::record_digests(&self.directory())? {
            let path = self.directory().join(format!("{}.json", key.hex()));
            // Removed as we look.
            artifacts.extend(file::read_json::<Artifact>(&path)?);
        }
        artifacts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(artifacts)
    }

    /// Makes or replaces what a name leads to; `make` is told what it leads to now.
    ///
    /// The caller holds [`Store::shared`] since the blobs were put in their places. Returns what is on
    /// record now, and what it replaces.
    pub fn update(
        &self,
        name: &Reference,
        make: impl FnOnce(Option<&Artifact>) -> Result<Artifact>,
        _collector_kept_away: &Lock,
    ) -> Result<(Artifact, Option<Artifact>)> {
        file::create_dirs(&self.directory(), 0o700)?;
        let _lock = self.lock()?;
        let before = self.named(name)?;
        let artifact = make(before.as_ref())?;
        for blob in &artifact.blobs {
            if !self.store.blobs().exists(blob) {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("blob {blob} of artifact {name} was removed meanwhile"),
                )
                .hint("try again"));
            }
        }
        file::write_json(&self.record(name), &artifact)?;
        Ok((artifact, before))
    }

    /// Takes an artifact's name off the record; `false` if it is gone already.
    ///
    /// The caller then [frees](Store::free) the [parts](Artifact::parts).
    pub fn forget(&self, artifact: &Artifact, _makers_kept_away: &Lock) -> Result<bool> {
        let _lock = self.lock()?;
        if self.named(&artifact.name)?.is_none() {
            return Ok(false);
        }
        let record = self.record(&artifact.name);
        file::remove_file(&record)?;
        file::sync_parent(&record).context(|| format!("cannot remove {}", record.display()))?;
        Ok(true)
    }

    /// Adds what artifacts refer to.
    pub(super) fn add_roots(&self, roots: &mut Parts) -> Result<()> {
        roots.blobs.extend(self.list()?.into_iter().flat_map(|artifact| artifact.blobs));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_blobs_until_its_last_name_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let artifacts = store.artifacts();
        assert!(artifacts.list().unwrap().is_empty());
        let digest = store.blobs().write(b"{}").unwrap();
        let put = |name: &str| {
            let name: Reference = name.parse().unwrap();
            let made = Artifact {
                name: name.clone(),
                digest: digest.clone(),
                blobs: vec![digest.clone()],
            };
            artifacts.update(&name, |_| Ok(made), &store.shared().unwrap()).unwrap().0
        };
        let (one, two) = (put("localhost/a:1"), put("quay.io/b"));
        assert_eq!(artifacts.lookup("a:1").unwrap(), one);
        assert_eq!(artifacts.lookup("quay.io/b:latest").unwrap(), two);
        assert_eq!(artifacts.lookup(&digest.hex()[..8]).unwrap(), one);
        for (text, kind) in
            [("a", Kind::NotFound), ("00000", Kind::NotFound), ("..", Kind::Invalid)]
        {
            assert_eq!(artifacts.lookup(text).unwrap_err().kind(), kind, "{text}");
        }
        let exclusive = store.exclusive().unwrap();
        let collect = || store.collect_garbage(&exclusive).unwrap().erase().unwrap();
        collect();
        assert!(artifacts.forget(&one, &exclusive).unwrap());
        assert!(!artifacts.forget(&one, &exclusive).unwrap());
        collect();
        assert!(store.blobs().exists(&digest));
        assert!(artifacts.forget(&two, &exclusive).unwrap());
        collect();
        assert!(!store.blobs().exists(&digest));
        drop(exclusive);
        let late =
            artifacts.update(&two.name, |_| Ok(two.clone()), &store.shared().unwrap()).unwrap_err();
        assert_eq!(late.kind(), Kind::Unavailable, "a blob is gone");
    }
}
