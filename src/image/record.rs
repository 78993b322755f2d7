//! The last step of every way into the store: the record of an image whose layers are all here.

use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::{DiffId, Digest, ImageId};
use crate::spec::image::ImageConfig;
use crate::spec::manifest::ManifestFormat;
use crate::spec::oci::Annotations;
use crate::spec::reference::Reference;
use crate::spec::time;
use crate::store::Store;
use crate::store::container::Builtin;
use crate::store::image::Image;

/// What came along with an image's configuration.
#[derive(Default)]
pub(crate) struct Origin {
    /// Digest of its manifest.
    pub(crate) manifest: Option<Digest>,
    /// Manifest and index, byte for byte.
    pub(crate) documents: Vec<Vec<u8>>,
    /// Its compressed layers; those that are not here are left out.
    pub(crate) blobs: Vec<Digest>,
    /// What it is made of besides layers.
    pub(crate) builtin: Option<Builtin>,
    /// The form that its manifest is to have, if it came with none.
    pub(crate) format: Option<ManifestFormat>,
    /// What that manifest is to say besides.
    pub(crate) annotations: Annotations,
}

/// Parses a configuration document.
pub(crate) fn parse_config(data: &[u8]) -> Result<ImageConfig> {
    serde_json::from_slice(data).context(|| "the image's configuration is malformed")
}

/// Records an image and names it; `None` if something of it was removed meanwhile.
pub(crate) fn record(
    store: &Store,
    config: &[u8],
    origin: Origin,
    names: &[Reference],
) -> Result<Option<Image>> {
    // From here on nothing is removed that is found to be here.
    let kept = store.shared()?;
    match describe(store, config, origin)? {
        Some(image) => store.images().put(&image, names, &kept),
        None => Ok(None),
    }
}

/// Describes an image that is not on record; `None` if something of it was removed meanwhile.
///
/// The caller keeps the collector of garbage away, and then what the image consists of.
pub(crate) fn describe(store: &Store, config: &[u8], origin: Origin) -> Result<Option<Image>> {
    let document = parse_config(config)?;
    let id = ImageId(store.blobs().write_soon(config)?);
    let mut size = 0_u64;
    for layer in &document.rootfs.diff_ids {
        match store.layers().info(layer) {
            Ok(info) if info.squashed && !store.ignores_chown_errors() => {
                return Err(not_true(layer));
            }
            Ok(info) => size = size.saturating_add(info.size),
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let mut blobs = origin.blobs;
    // What its layers came as goes with the last image that has them, whichever that is.
    for layer in &document.rootfs.diff_ids {
        blobs.extend(store.layers().packed(layer)?.into_iter().map(|packed| packed.digest));
    }
    blobs.retain(|blob| store.blobs().exists(blob));
    for document in &origin.documents {
        blobs.push(store.blobs().write_soon(document)?);
    }
    blobs.push(id.0.clone());
    Ok(Some(Image {
        id,
        layers: document.rootfs.diff_ids,
        config: document.config,
        architecture: document.architecture,
        variant: document.variant,
        os: document.os,
        created: document.created.as_deref().and_then(time::parse_rfc3339).unwrap_or(0),
        size,
        manifest_digest: origin.manifest,
        blobs,
        builtin: origin.builtin,
        format: origin.format,
        annotations: origin.annotations,
    }))
}

/// The error for a layer that has lost the owners of its files, where that was not asked for.
fn not_true(layer: &DiffId) -> Error {
    Error::new(
        Kind::Conflict,
        format!("layer {layer} is here with all files given to one user"),
    )
    .hint("remove the images that have it and pull them again: barge rmi IMAGE; or take it as it is: --storage-opt ignore_chown_errors=true")
}

/// The error for an image of which something was removed as it was made, again and again.
pub(crate) fn disturbed() -> Error {
    Error::new(Kind::Unavailable, "layers of the image are being removed by others")
        .hint("try again")
}
