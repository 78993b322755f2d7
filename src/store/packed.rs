//! What a layer is when it is compressed: blobs that are here, and those that were made for a push.
//!
//! The latter are not kept. That their digest is known is enough to find out that a registry has them.

use std::fs;
use std::io::{ErrorKind, Write};

use serde::{Deserialize, Serialize};

use super::layer::{LayerDraft, Layers};
use super::{Store, file};
use crate::error::{Context, Result};
use crate::spec::compression::Compression;
use crate::spec::digest::{DiffId, Digest};

const FILE: &str = "packed.json";
/// A layer that is pushed with ever other levels does not grow for ever.
const MOST: usize = 16;

/// One way in which a layer was compressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Digest of the result.
    pub digest: Digest,
    /// Bytes of the result.
    pub size: u64,
    /// How it was compressed.
    pub compression: Compression,
    /// How strongly, if we did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
}

impl Layers<'_> {
    /// Returns what a layer was compressed to; first the blob that it came as, if there was one.
    pub fn packed(&self, id: &DiffId) -> Result<Vec<Packed>> {
        let path = self.path(id).with_file_name(FILE);
        Ok(file::read_json(&path)?.unwrap_or_default())
    }
}

impl LayerDraft<'_> {
    /// Notes what the layer is unpacked from: its blob, and its tar stream.
    pub fn note_packed(&self, packed: &[Packed]) -> Result<()> {
        file::write_json_volatile(&self.diff().with_file_name(FILE), &packed)
    }
}

impl Store {
    /// Remembers what a layer was compressed to.
    ///
    /// Of two that do it at once one may be forgotten; it is compressed once more then.
    pub fn remember_packed(&self, id: &DiffId, packed: &Packed) -> Result<()> {
        let mut known = self.layers().packed(id)?;
        if known.contains(packed) {
            return Ok(());
        }
        known.push(packed.clone());
        // The first ones are what it came as.
        if known.len() > MOST {
            known.remove(2);
        }
        let path = self.layers().path(id).with_file_name(FILE);
        let context = || format!("cannot write {}", path.display());
        let draft = self.draft_file()?;
        let data = serde_json::to_vec(&known).context(context)?;
        draft.file().write_all(&data).and_then(|()| draft.file().sync_all()).context(context)?;
        match fs::rename(draft.path(), &path) {
            // A layer that was removed meanwhile is not to come back.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            renamed => renamed.context(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::blob::digest_of;
    use crate::store::layer::LayerInfo;

    #[test]
    fn remembers_what_a_layer_was_compressed_to() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let packed = |level: usize| Packed {
            digest: digest_of(level.to_string().as_bytes()),
            size: 1,
            compression: Compression::Gzip,
            level: i32::try_from(level).ok(),
        };
        let id = DiffId(digest_of(b"layer"));
        store.remember_packed(&id, &packed(0)).unwrap();
        assert_eq!(store.layers().packed(&id).unwrap(), [], "there is no such layer");
        let draft = store.layers().begin().unwrap();
        draft.note_packed(&[packed(0), packed(1)]).unwrap();
        store.publish(vec![draft.finish(&id, &LayerInfo::default()).unwrap()]).unwrap();
        for level in (0..40).chain(0..2) {
            store.remember_packed(&id, &packed(level)).unwrap();
        }
        let known = store.layers().packed(&id).unwrap();
        assert_eq!((known.len(), &known[0], &known[MOST - 1]), (MOST, &packed(0), &packed(39)));
        assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    }
}
