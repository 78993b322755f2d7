//! `artifact ls` and `artifact inspect`: which artifacts there are, and what they contain.

use crate::error::Result;
use crate::spec::oci::Manifest;
use crate::store::Store;
use crate::store::artifact::Artifact;

/// All that is known of an artifact.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its record.
    pub artifact: Artifact,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Reads all artifacts, by name.
pub fn list(store: &Store) -> Result<Vec<Inspection>> {
    let artifacts = store.artifacts().list()?;
    artifacts.into_iter().map(|artifact| read(store, artifact)).collect()
}

/// Finds an artifact and reads its manifest.
pub fn inspect(store: &Store, name: &str) -> Result<Inspection> {
    read(store, store.artifacts().lookup(name)?)
}

fn read(store: &Store, artifact: Artifact) -> Result<Inspection> {
    let (manifest, _) = store.artifacts().manifest(&artifact)?;
    Ok(Inspection { artifact, manifest })
}
