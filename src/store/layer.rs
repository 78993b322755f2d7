//! Layers: unpacked once, shared by all images that contain them.
//!
//! A layer does not depend on those below it: whiteouts are kept as overlay marks in its own tree.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::draft::{Draft, Finished, Gone};
use super::{Store, file};
use crate::error::{Error, Kind, Result};
use crate::spec::digest::DiffId;

/// What is known about a layer besides its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// Bytes of its files.
    pub size: u64,
    /// Whether files of other users were given to the one who unpacked it: it is not what was packed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub squashed: bool,
    /// What could not be unpacked as it was packed, in sentences for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// All layers of a store.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    store: &'a Store,
}

/// A layer that is being unpacked.
#[derive(Debug)]
pub struct LayerDraft<'a> {
    layers: Layers<'a>,
    draft: Draft,
    diff: PathBuf,
}

impl<'a> Layers<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    fn dir(&self, id: &DiffId) -> PathBuf {
        self.store.root.join("layers").join(id.hex())
    }

    /// Returns the directory with a layer's files, ready to be a lower directory.
    pub fn path(&self, id: &DiffId) -> PathBuf {
        self.dir(id).join("diff")
    }

    /// Tells whether a layer is there, as far as a glance can tell.
    pub fn exists(&self, id: &DiffId) -> bool {
        let dir = self.dir(id);
        dir.join("diff").is_dir() && dir.join("layer.json").exists()
    }

    /// Tells whether a layer is there and has the owners that it came with, unless nobody asks for them.
    pub fn is_wanted(&self, id: &DiffId) -> bool {
        let is_true = |info: LayerInfo| !info.squashed || self.store.ignores_chown_errors();
        self.exists(id) && self.info(id).is_ok_and(is_true)
    }

    /// Returns what is known about a layer.
    pub fn info(&self, id: &DiffId) -> Result<LayerInfo> {
        file::read_json(&self.dir(id).join("layer.json"))?.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("layer {id} is missing"))
                .hint("pull or load the image again")
        })
    }

    /// Begins a layer.
    pub fn begin(&self) -> Result<LayerDraft<'a>> {
        let draft = self.store.draft_dir()?;
        let diff = draft.path().join("diff");
        file::create_dir(&diff, 0o755)?;
        // Whatever the umask is, and without a set-group-ID bit that the store's directory may pass on.
        file::set_mode(&diff, 0o755)?;
        file::set_mode(draft.path(), 0o700)?;
        Ok(LayerDraft { layers: *self, draft, diff })
    }

    /// Moves a layer aside; `None` if it is not there.
    pub(super) fn take_away(&self, id: &DiffId) -> Result<Option<Gone>> {
        self.store.take_away(&self.dir(id))
    }

    /// Removes a layer that is not whole; one that is not there is fine.
    pub fn discard(&self, id: &DiffId) -> Result<()> {
        self.take_away(id)?.map_or(Ok(()), Gone::erase)
    }

    /// Makes room for a layer whose directory is there, but not whole: somebody has deleted a part.
    fn clear_damaged(&self, id: &DiffId) -> Result<()> {
        if self.exists(id) || !self.dir(id).exists() {
            return Ok(());
        }
        let lock = self.store.images().lock()?;
        // Another maker may have put a whole one there meanwhile.
        let damaged = if self.exists(id) { None } else { self.take_away(id)? };
        drop(lock);
        damaged.map_or(Ok(()), Gone::erase)
    }
}

impl LayerDraft<'_> {
    /// Returns the directory that receives the files.
    pub fn diff(&self) -> &Path {
        &self.diff
    }

    /// Declares it complete.
    pub fn finish(self, id: &DiffId, info: &LayerInfo) -> Result<Finished> {
        file::write_json_volatile(&self.draft.path().join("layer.json"), info)?;
        self.layers.clear_damaged(id)?;
        let place = self.layers.dir(id);
        Ok(self.draft.finish(place))
    }
}
