//! `artifact rm`: artifacts go.

use crate::error::Result;
use crate::spec::digest::Digest;
use crate::store::Store;
use crate::store::artifact::Artifact;
use crate::store::garbage::Parts;
use crate::store::lock::Lock;

/// Removes an artifact by name, or by digest or the beginning of one; returns its digest.
pub fn remove(store: &Store, name: &str) -> Result<Digest> {
    let makers_kept_away = store.exclusive()?;
    let artifact = store.artifacts().lookup(name)?;
    let digest = artifact.digest.clone();
    forget(store, &[artifact], makers_kept_away)?;
    Ok(digest)
}

/// Removes all artifacts; returns their digests.
pub fn remove_all(store: &Store) -> Result<Vec<Digest>> {
    let makers_kept_away = store.exclusive()?;
    let artifacts = store.artifacts().list()?;
    forget(store, &artifacts, makers_kept_away)?;
    Ok(artifacts.into_iter().map(|artifact| artifact.digest).collect())
}

fn forget(store: &Store, artifacts: &[Artifact], makers_kept_away: Lock) -> Result<()> {
    let mut parts = Parts::default();
    for artifact in artifacts {
        store.artifacts().forget(artifact, &makers_kept_away)?;
        parts.add(artifact.parts());
    }
    let garbage = store.free(&parts, &makers_kept_away)?;
    drop(makers_kept_away);
    garbage.erase().map(drop)
}
