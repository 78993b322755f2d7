//! `artifact rm`: artifacts go.

use crate::error::Result;
use crate::spec::digest::Digest;
use crate::store::Store;

/// Removes an artifact by name, or by digest or the beginning of one; returns its digest.
pub fn remove(store: &Store, name: &str) -> Result<Digest> {
    let makers_kept_away = store.exclusive()?;
    let artifact = store.artifacts().lookup(name)?;
    store.artifacts().remove(&artifact, &makers_kept_away)?;
    Ok(artifact.digest)
}

/// Removes all artifacts; returns their digests.
pub fn remove_all(store: &Store) -> Result<Vec<Digest>> {
    let makers_kept_away = store.exclusive()?;
    let mut digests = Vec::new();
    for artifact in store.artifacts().list()? {
        store.artifacts().remove(&artifact, &makers_kept_away)?;
        digests.push(artifact.digest);
    }
    Ok(digests)
}
