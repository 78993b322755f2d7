//! What is in use: layers and blobs that an image, a manifest list or an artifact refers to.

use std::collections::BTreeSet;

use super::Store;
use super::lock::Lock;
use crate::error::Result;
use crate::spec::digest::{DiffId, Digest};

/// Layers and blobs that something refers to.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// Unpacked layers.
    pub(super) layers: BTreeSet<DiffId>,
    /// Manifests, configurations, compressed layers, files of artifacts.
    pub(super) blobs: BTreeSet<Digest>,
}

impl Store {
    /// Returns all that is in use.
    pub(super) fn roots(&self) -> Result<Roots> {
        let mut roots = Roots::default();
        self.images().add_roots(&mut roots)?;
        self.lists().add_roots(&mut roots)?;
        self.artifacts().add_roots(&mut roots)?;
        Ok(roots)
    }

    /// Removes those of some layers and blobs that are not in use.
    pub(super) fn free(&self, candidates: &Roots, _makers_kept_away: &Lock) -> Result<()> {
        let used = self.roots()?;
        for layer in candidates.layers.difference(&used.layers) {
            self.layers().remove(layer)?;
        }
        for blob in candidates.blobs.difference(&used.blobs) {
            self.blobs().remove(blob)?;
        }
        Ok(())
    }
}
