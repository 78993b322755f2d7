//! A tar stream becomes the top layer of a new image.

use std::io::{BufReader, Read};

use super::ingest::{Expected, layer};
use super::record::{Origin, disturbed, parse_config, record};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::{DiffId, ImageId};
use crate::spec::image::{HistoryStep, ImageConfig, RootFs, RunConfig};
use crate::spec::manifest::ManifestFormat;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::garbage::Parts;
use crate::store::image::Image;

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// What an image is made of.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The image that the layer lies on; it may be gone.
    pub parent: &'a ImageId,
    /// The layers that it lies on, the lowest first.
    pub layers: &'a [DiffId],
    /// Whether the new layer is all there is: it takes the place of those below it.
    pub squash: bool,
    /// What the new image wants to be run with.
    pub run: RunConfig,
    /// Who makes it.
    pub author: Option<String>,
    /// What the history says of this step, without the author.
    pub step: HistoryStep,
    /// The form that it is to have elsewhere.
    pub format: Option<ManifestFormat>,
    /// Its name.
    pub name: Option<Reference>,
}

/// Returns the configuration of an image; an empty one if it is gone.
pub fn config_of(store: &Store, id: &ImageId) -> Result<ImageConfig> {
    match store.blobs().read(&id.0)? {
        Some(data) => parse_config(&data),
        None => {
            let host = Platform::host();
            Ok(ImageConfig {
                architecture: host.architecture,
                variant: host.variant,
                os: host.os,
                ..ImageConfig::default()
            })
        }
    }
}

/// Makes an image. Returns it, and what could not be taken over as it was.
///
/// `check` is called when all was read: it may say that what was read is not all there was.
pub fn commit(
    store: &Store,
    stream: impl Read,
    commit: Commit<'_>,
    check: impl FnOnce() -> Result<()>,
) -> Result<(Image, Vec<String>)> {
    store.gc_tmp()?;
    // Whoever removes the container and its image meanwhile leaves us what we build on.
    let _below = store.pin(&Parts::of(commit.layers, []))?;
    if let Some(layer) = commit.layers.iter().find(|layer| !store.layers().exists(layer)) {
        return Err(Error::new(Kind::NotFound, format!("layer {layer} is missing"))
            .hint("pull or load the image of the container again"));
    }
    let input = BufReader::with_capacity(CHUNK, stream);
    let ingested = layer(store, input, &Expected { blob: None, diff_id: None }, |_| {})?;
    check()?;
    let mut config = config_of(store, commit.parent)?;
    let mut layers = if commit.squash { Vec::new() } else { commit.layers.to_vec() };
    layers.push(ingested.diff_id.clone());
    if commit.squash {
        config.history.clear();
    }
    config.created.clone_from(&commit.step.created);
    config.author.clone_from(&commit.author);
    config.config = commit.run;
    config.rootfs = RootFs { diff_ids: layers, ..RootFs::default() };
    config.history.push(HistoryStep { author: commit.author, ..commit.step });
    let data = serde_json::to_vec(&config).context(|| "cannot write the configuration")?;
    let _all = store.pin(&Parts::of(&config.rootfs.diff_ids, []))?;
    store.publish_soon(ingested.finished)?;
    let origin = Origin { format: commit.format, ..Origin::default() };
    let image = record(store, &data, origin, commit.name.as_slice())?.ok_or_else(disturbed)?;
    Ok((image, ingested.info.warnings))
}
