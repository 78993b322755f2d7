//! OCI's layout: blobs by their digests, and an index of the images.

use serde_json::{Value, json};

use super::{SavedImage, Saver, once};
use crate::error::{Context, Result};
use crate::image::archive::{NAMES, blob_name};
use crate::image::progress::ProgressEvent;
use crate::image::push::Pushed;
use crate::store::blob::digest_of;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Saver<'_, '_> {
    /// Writes a layout; other images of a directory stay.
    pub(super) fn oci(&mut self, images: &[SavedImage]) -> Result<Vec<Pushed>> {
        let mut pushed = Vec::new();
        let mut entries = Vec::new();
        for SavedImage { image, names } in images {
            let ready = self.blobs(image, blob_name)?;
            let digest = digest_of(&ready.data);
            self.members.add_bytes(&blob_name(&digest), &ready.data)?;
            let mut entry = json!({
                "mediaType": ready.media_type,
                "digest": digest,
                "size": ready.data.len(),
                "platform": { "architecture": image.architecture, "os": image.os },
            });
            if let Some(variant) = &image.variant {
                entry["platform"]["variant"] = json!(variant);
            }
            for name in once(names) {
                let mut named = entry.clone();
                named["annotations"] = NAMES.iter().map(|key| (*key, json!(name))).collect();
                entries.push(named);
            }
            if names.is_empty() {
                entries.push(entry);
            }
            pushed.push(Pushed { digest, size: ready.data.len() as u64 });
        }
        self.progress.update(ProgressEvent::Recording);
        let mut all = self.others(&entries)?;
        all.extend(entries);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all });
        self.members.add_bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.members.add_bytes("index.json", index.to_string().as_bytes())?;
        Ok(pushed)
    }

    /// Returns the images of a directory that are not written anew.
    fn others(&self, entries: &[Value]) -> Result<Vec<Value>> {
        let Some(data) = self.members.existing("index.json")? else { return Ok(Vec::new()) };
        let index: Value = serde_json::from_slice(&data)
            .context(|| "the directory's `index.json` is malformed")?;
        let name = |entry: &Value| {
            NAMES.iter().find_map(|key| entry["annotations"][key].as_str().map(str::to_owned))
        };
        let mut others = index["manifests"].as_array().cloned().unwrap_or_default();
        others.retain(|other| {
            let same = |entry: &Value| match name(other) {
                Some(known) => name(entry) == Some(known),
                None => name(entry).is_none() && entry["digest"] == other["digest"],
            };
            !entries.iter().any(same)
        });
        Ok(others)
    }
}
