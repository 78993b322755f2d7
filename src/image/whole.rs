//! An image that has been made here gets what it would have if it came from a registry: compressed layers
//! and a manifest, by whose digest others can speak of it.

use std::io::Write;

use super::outgoing::{Form, Outgoing};
use super::pack::pack;
use super::progress::{Progress, ProgressEvent};
use super::record::{Origin, disturbed, record};
use super::stream::TarStream;
use crate::error::{Context, Result};
use crate::spec::compression::Compression;
use crate::store::Store;
use crate::store::blob::digest_of;
use crate::store::garbage::Parts;
use crate::store::image::Image;
use crate::store::packed::Packed;

/// Compresses all layers that are not yet, makes a manifest, and records both with the image.
pub(crate) fn complete(
    store: &Store,
    image: &Image,
    form: &Form,
    progress: &dyn Progress,
) -> Result<Image> {
    let mut outgoing = Outgoing::of(store, image, form)?;
    if let Some(original) = outgoing.take_complete(store)
        && image.manifest_digest.as_ref() == Some(&digest_of(&original.data))
    {
        return Ok(image.clone());
    }
    let (compression, level) = outgoing.compression();
    let (mut layers, mut blobs) = (Vec::new(), Vec::new());
    for part in &outgoing.parts {
        let packed = match part.kept(store) {
            Some(kept) => kept.clone(),
            None if compression == Compression::None => {
                let size = part.size()?;
                Packed { digest: part.id.0.clone(), size, compression, level: None }
            }
            None => {
                let mut blob = store.blobs().begin()?;
                let mut done = 0;
                let write = |piece: &[u8]| {
                    done += piece.len() as u64;
                    let digest = &part.id.0;
                    progress.update(ProgressEvent::Layer { digest, done, total: 0 });
                    blob.write_all(piece).context(|| "cannot write a blob")
                };
                TarStream::open(store, &part.id)?
                    .read_ahead(|input| pack(input, compression, level, write))
                    .context(|| format!("cannot compress layer {}", part.id))?;
                progress.update(ProgressEvent::LayerDone(&part.id.0));
                let (digest, size) = blob.digest();
                store.publish(vec![blob.finish(&digest)])?;
                let packed = Packed { digest, size, compression, level: Some(level) };
                store.remember_packed(&part.id, &packed)?;
                packed
            }
        };
        blobs.push(packed.digest.clone());
        layers.push(packed);
    }
    let _pin = store.pin(&Parts::of(&image.layers, &blobs))?;
    let manifest = outgoing.manifest(&layers)?.data;
    let origin = Origin {
        manifest: Some(digest_of(&manifest)),
        documents: vec![manifest],
        blobs,
        builtin: None,
        format: image.format,
        annotations: image.annotations.clone(),
    };
    record(store, &outgoing.config, origin, &[])?.ok_or_else(disturbed)
}
