//! OCI's layout: blobs by their digests, and an index of the images.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{SavedImage, Saver, missing, once};
use crate::error::{Context, Result};
use crate::image::archive::{NAMES, blob_name};
use crate::image::list::image;
use crate::image::manifest::Blob;
use crate::image::progress::ProgressEvent;
use crate::image::push::Pushed;
use crate::spec::digest::Digest;
use crate::spec::oci::{Manifest, OCI_INDEX};
use crate::store::blob::digest_of;
use crate::store::list::List;

/// Annotation of what is said about another member of a list: that member's digest.
const ABOUT: &str = "vnd.docker.reference.digest";

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
        self.layout(entries)?;
        Ok(pushed)
    }

    /// Writes a list and all its members that are here into a layout.
    pub(super) fn oci_list(&mut self, list: &List, names: &[String]) -> Result<Pushed> {
        let mut index = list.document();
        OCI_INDEX.clone_into(&mut index.media_type);
        // What members are called now that were called otherwise.
        let mut now = BTreeMap::new();
        for descriptor in &mut index.manifests {
            let member = list.members.get(&descriptor.digest).cloned().unwrap_or_default();
            let (digest, data) = match image(self.store, &member)? {
                Some(image) => {
                    let ready = self.blobs(&image, blob_name)?;
                    ready.media_type.clone_into(&mut descriptor.media_type);
                    (digest_of(&ready.data), ready.data)
                }
                None => {
                    let digest = descriptor.digest.clone();
                    let data = self.store.blobs().read(&digest)?.ok_or_else(|| missing(&digest))?;
                    let manifest: Manifest = serde_json::from_slice(&data)
                        .context(|| format!("manifest {digest} is malformed"))?;
                    for blob in manifest.blobs() {
                        let blob = Blob { digest: blob.digest.clone(), size: blob.size };
                        self.blob(&blob, blob_name)?;
                    }
                    (digest, data)
                }
            };
            self.members.add_bytes(&blob_name(&digest), &data)?;
            now.insert(descriptor.digest.clone(), digest.clone());
            (descriptor.digest, descriptor.size) = (digest, data.len() as u64);
        }
        for descriptor in &mut index.manifests {
            let about = descriptor.annotations.get_mut(ABOUT);
            if let Some(about) = about
                && let Some(now) = about.parse::<Digest>().ok().and_then(|it| now.get(&it))
            {
                *about = now.to_string();
            }
        }
        let data = serde_json::to_vec(&index).context(|| "cannot write the list")?;
        let (digest, size) = (digest_of(&data), data.len() as u64);
        self.members.add_bytes(&blob_name(&digest), &data)?;
        let entry = json!({ "mediaType": OCI_INDEX, "digest": digest, "size": size });
        let mut entries = Vec::new();
        for name in once(names) {
            let mut named = entry.clone();
            named["annotations"] = NAMES.iter().map(|key| (*key, json!(name))).collect();
            entries.push(named);
        }
        if names.is_empty() {
            entries.push(entry);
        }
        self.layout(entries)?;
        Ok(Pushed { digest, size })
    }

    /// Writes what makes a layout of blobs.
    fn layout(&mut self, entries: Vec<Value>) -> Result<()> {
        self.progress.update(ProgressEvent::Recording);
        let mut all = self.others(&entries)?;
        all.extend(entries);
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": all });
        self.members.add_bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.members.add_bytes("index.json", index.to_string().as_bytes())
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
