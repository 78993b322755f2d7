//! OCI layouts, as archives and as directories: `index.json` leads to manifests, all blobs by digest.

use std::collections::HashMap;

use oci_spec::image::Descriptor;

use super::Members;
use super::members::blob_name;
use crate::error::{Context, Error, Kind, Result};
use crate::image::ingest::{Expected, layer};
use crate::image::manifest::{Blob, Document, Manifest, choose};
use crate::image::parallel;
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::record::{Origin, disturbed, parse_config, record};
use crate::spec::digest::{DiffId, Digest};
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::image::NamedImage;

/// Where tools note an image's name, the most telling first.
pub(crate) const NAMES: [&str; 2] =
    ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// Indexes that lead to indexes, and so on.
const MAX_DEPTH: usize = 4;

/// An image of the layout, before its layers are here.
struct Pending {
    config: Vec<u8>,
    manifest: Digest,
    document: Vec<u8>,
    blobs: Vec<Digest>,
    names: Vec<Reference>,
}

pub(super) fn load(
    store: &Store,
    members: &Members,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let Document::Index(index) = Document::parse(&members.document("index.json")?)? else {
        return Err(Error::new(Kind::Invalid, "the archive's `index.json` is no index"));
    };
    if index.manifests().is_empty() {
        return Err(Error::new(Kind::Invalid, "the archive has no images"));
    }
    let mut images: Vec<Pending> = Vec::new();
    let mut jobs: HashMap<DiffId, Blob> = HashMap::new();
    for descriptor in index.manifests() {
        let first: Digest = descriptor.digest().to_string().parse()?;
        let (digest, data, manifest) = manifest(members, first, platform)?;
        let names: Vec<Reference> = name(descriptor).into_iter().collect();
        if let Some(known) = images.iter_mut().find(|image| image.manifest == digest) {
            // One image under several names.
            known.names.extend(names);
            continue;
        }
        let config = members.blob(&manifest.config.digest)?;
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
        progress.update(ProgressEvent::Layers(diff_ids.len()));
        let mut blobs = Vec::new();
        for (diff_id, blob) in diff_ids.into_iter().zip(manifest.layers) {
            if store.layers().exists(&diff_id) {
                progress.update(ProgressEvent::Present(&diff_id));
                blobs.push(blob.digest);
            } else {
                blobs.push(blob.digest.clone());
                jobs.insert(diff_id, blob);
            }
        }
        images.push(Pending { config, manifest: digest, document: data, blobs, names });
    }
    let jobs: Vec<(DiffId, Blob)> = jobs.into_iter().collect();
    let take_in = |(diff_id, blob): &(DiffId, Blob)| {
        let expected = Expected { blob: Some((&blob.digest, blob.size)), diff_id: Some(diff_id) };
        let input = members.member(&blob_name(&blob.digest))?;
        let ingested = layer(store, input, &expected, |_| {})
            .context(|| format!("cannot load layer {}", blob.digest))?;
        for warning in &ingested.info.warnings {
            progress.update(ProgressEvent::Warning(warning));
        }
        progress.update(ProgressEvent::LayerDone(&blob.digest));
        Ok(ingested)
    };
    parallel::layers(store, &jobs, take_in, || {})?;
    progress.update(ProgressEvent::Recording);
    let mut loaded = Vec::new();
    for image in images {
        let origin = Origin {
            manifest: Some(image.manifest),
            documents: vec![image.document],
            blobs: image.blobs,
            ..Origin::default()
        };
        let recorded = record(store, &image.config, origin, &image.names)?.ok_or_else(disturbed)?;
        loaded.push(NamedImage { image: recorded, names: image.names, digests: Vec::new() });
    }
    Ok(loaded)
}

/// Follows indexes until there is a manifest for this platform.
fn manifest(
    members: &Members,
    first: Digest,
    platform: &Platform,
) -> Result<(Digest, Vec<u8>, Manifest)> {
    let mut digest = first;
    for _ in 0..MAX_DEPTH {
        let data = members.blob(&digest)?;
        match Document::parse(&data)? {
            Document::Manifest(manifest) => return Ok((digest, data, manifest)),
            Document::Index(index) => digest = choose(&index, platform)?.digest,
        }
    }
    Err(Error::new(Kind::Invalid, "indexes of the archive lead to ever more indexes"))
}

/// Returns the name that a descriptor gives its image, if it is a good one.
fn name(descriptor: &Descriptor) -> Option<Reference> {
    let annotations = descriptor.annotations().as_ref()?;
    let text = NAMES.iter().find_map(|key| annotations.get(*key))?;
    Reference::local(text).ok()
}
