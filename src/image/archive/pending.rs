//! Images whose manifests were found in an archive or a directory, before their layers are here.

use std::collections::HashMap;

use super::Members;
use crate::error::{Context, Error, Kind, Result};
use crate::image::ingest::{Expected, layer};
use crate::image::manifest::{Blob, Manifest};
use crate::image::parallel;
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::record::{Origin, disturbed, parse_config, record};
use crate::spec::digest::{DiffId, Digest};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::garbage::Parts;
use crate::store::image::NamedImage;

/// An image with a manifest.
pub(super) struct Pending {
    config: Vec<u8>,
    /// Digest of its configuration.
    pub(super) id: Digest,
    /// Digest of its manifest.
    pub(super) manifest: Digest,
    document: Vec<u8>,
    layers: Vec<(DiffId, Blob)>,
    /// What it is called.
    pub(super) names: Vec<Reference>,
}

impl Pending {
    /// Reads the configuration of an image, and checks that it goes with the manifest.
    pub(super) fn new(
        members: &Members,
        digest: Digest,
        document: Vec<u8>,
        manifest: Manifest,
        name_of: fn(&Digest) -> String,
    ) -> Result<Self> {
        let config = members.blob(&manifest.config.digest, name_of)?;
        let diff_ids = parse_config(&config)?.rootfs.diff_ids;
        if manifest.layers.len() != diff_ids.len() {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "the image has {} layers, its manifest {}",
                    diff_ids.len(),
                    manifest.layers.len()
                ),
            ));
        }
        let layers = diff_ids.into_iter().zip(manifest.layers).collect();
        let id = manifest.config.digest;
        Ok(Self { config, id, manifest: digest, document, layers, names: Vec::new() })
    }

    /// Returns all that the image will consist of.
    fn parts(&self) -> Parts {
        let diff_ids: Vec<DiffId> = self.layers.iter().map(|(id, _)| id.clone()).collect();
        let blobs = self.layers.iter().map(|(_, blob)| &blob.digest);
        Parts::of(&diff_ids, blobs.chain([&self.id, &self.manifest]))
    }
}

/// Takes in the layers of images, and records these.
pub(super) fn take_in(
    store: &Store,
    members: &Members,
    images: Vec<Pending>,
    name_of: fn(&Digest) -> String,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let mut jobs: HashMap<&DiffId, &Blob> = HashMap::new();
    let mut pins = Vec::new();
    for image in &images {
        progress.update(ProgressEvent::Layers(image.layers.len()));
        pins.push(store.pin(&image.parts())?);
        for (diff_id, blob) in &image.layers {
            if store.layers().exists(diff_id) {
                progress.update(ProgressEvent::Present(diff_id));
            } else {
                jobs.insert(diff_id, blob);
            }
        }
    }
    let jobs: Vec<(&DiffId, &Blob)> = jobs.into_iter().collect();
    let take_in = |(diff_id, blob): &(&DiffId, &Blob)| {
        let Blob { digest, size } = *blob;
        let expected = Expected { blob: Some((digest, *size)), diff_id: Some(diff_id) };
        let ingested = layer(store, members.member(&name_of(digest))?, &expected, |_| {})
            .context(|| format!("cannot load layer {digest}"))?;
        for warning in &ingested.info.warnings {
            progress.update(ProgressEvent::Warning(warning));
        }
        progress.update(ProgressEvent::LayerDone(digest));
        Ok(ingested)
    };
    parallel::layers(store, &jobs, take_in, || {})?;
    progress.update(ProgressEvent::Recording);
    let mut loaded = Vec::new();
    for image in images {
        let origin = Origin {
            manifest: Some(image.manifest),
            documents: vec![image.document],
            blobs: image.layers.into_iter().map(|(_, blob)| blob.digest).collect(),
            ..Origin::default()
        };
        let recorded = record(store, &image.config, origin, &image.names)?.ok_or_else(disturbed)?;
        loaded.push(NamedImage { image: recorded, names: image.names, digests: Vec::new() });
    }
    Ok(loaded)
}
