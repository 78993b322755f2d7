//! Docker's archives: `manifest.json` lists images, each with its configuration, names and layers.

use std::collections::HashSet;

use serde::Deserialize;

use super::Members;
use crate::error::{Context, Error, Kind, Result};
use crate::image::ingest::{Expected, layer};
use crate::image::parallel;
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::record::{Origin, disturbed, parse_config, record};
use crate::spec::digest::DiffId;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::garbage::Parts;
use crate::store::image::NamedImage;

/// Where Docker's archives have their list.
pub(super) const LIST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// An image of the archive, before its layers are here.
struct Pending {
    config: Vec<u8>,
    names: Vec<Reference>,
}

/// Returns the names of images, each with the name of its configuration's file.
pub(super) fn names(members: &Members) -> Result<Vec<(String, Vec<Reference>)>> {
    let named = |item: Item| -> Result<(String, Vec<Reference>)> {
        let names = item.repo_tags.unwrap_or_default();
        Ok((item.config, names.iter().map(|name| name.parse()).collect::<Result<_>>()?))
    };
    items(members)?.into_iter().map(named).collect()
}

/// Tells whether the archive has Docker's list, and not one image's manifest in its place.
pub(super) fn has_list(members: &Members) -> Result<bool> {
    // Of the list only the first byte is looked at: a damaged one is still one.
    let data = members.document(LIST)?;
    Ok(data.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{'))
}

fn items(members: &Members) -> Result<Vec<Item>> {
    serde_json::from_slice(&members.document(LIST)?)
        .context(|| "the archive's list of images is malformed")
}

pub(super) fn load(
    store: &Store,
    members: &Members,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let items = items(members)?;
    if items.is_empty() {
        return Err(Error::new(Kind::Invalid, "the archive has no images"));
    }
    let mut images = Vec::new();
    let mut jobs: Vec<(DiffId, String)> = Vec::new();
    let mut known = HashSet::new();
    let mut pins = Vec::new();
    for item in items {
        let config = members.document(&item.config)?;
        let diff_ids = parse_config(&config)?.rootfs.diff_ids;
        let layers = item.layers.unwrap_or_default();
        if layers.len() != diff_ids.len() {
            return Err(Error::new(
                Kind::Invalid,
                format!("the image has {} layers, the archive {}", diff_ids.len(), layers.len()),
            ));
        }
        progress.update(ProgressEvent::Layers(layers.len()));
        pins.push(store.pin(&Parts::of(&diff_ids, []))?);
        for (diff_id, member) in diff_ids.into_iter().zip(layers) {
            if store.layers().exists(&diff_id) {
                progress.update(ProgressEvent::Present(&diff_id));
            } else if known.insert(diff_id.clone()) {
                jobs.push((diff_id, member));
            }
        }
        let names = item.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        images.push(Pending { config, names });
    }
    let take_in = |(diff_id, member): &(DiffId, String)| {
        let expected = Expected { blob: None, diff_id: Some(diff_id) };
        let ingested = layer(store, members.member(member)?, &expected, |_| {})
            .context(|| format!("cannot load layer `{member}`"))?;
        for warning in &ingested.info.warnings {
            progress.update(ProgressEvent::Warning(warning));
        }
        progress.update(ProgressEvent::LayerDone(&diff_id.0));
        Ok(ingested)
    };
    parallel::layers(store, &jobs, take_in, || {})?;
    progress.update(ProgressEvent::Recording);
    let mut loaded = Vec::new();
    for Pending { config, names } in images {
        let image = record(store, &config, Origin::default(), &names)?.ok_or_else(disturbed)?;
        loaded.push(NamedImage { image, names, digests: Vec::new() });
    }
    Ok(loaded)
}
