//! Docker's archives: `manifest.json` lists images, each with its configuration, names and layers.

use std::collections::HashSet;

use serde::Deserialize;

use super::{Members, Selection};
use crate::error::{Context, Error, Kind, Result};
use crate::image::ingest::{Expected, layer};
use crate::image::parallel;
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::record::{Origin, disturbed, parse_config, record};
use crate::spec::digest::DiffId;
use crate::spec::location::ArchiveImage;
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

/// Picks the image that is meant; under its name only, if that is how it was meant.
fn pick(mut items: Vec<Item>, image: &ArchiveImage) -> Result<Item> {
    let at = match image {
        ArchiveImage::Numbered(number) => Some(*number).filter(|number| *number < items.len()),
        ArchiveImage::Named(name) => {
            let name = name.to_string();
            items.iter().position(|item| item.repo_tags.iter().flatten().any(|one| *one == name))
        }
    };
    if let Some(at) = at {
        let mut item = items.swap_remove(at);
        if let ArchiveImage::Named(name) = image {
            item.repo_tags = Some(vec![name.to_string()]);
        }
        return Ok(item);
    }
    Err(match image {
        ArchiveImage::Named(name) => {
            let names = items.iter().flat_map(|item| item.repo_tags.iter().flatten());
            let names: Vec<&str> = names.map(String::as_str).collect();
            Error::new(Kind::NotFound, format!("there is no image `{name}` in it"))
                .hint(format!("its images are: {}", names.join(", ")))
        }
        ArchiveImage::Numbered(number) => {
            Error::new(Kind::NotFound, format!("there is no image number {number} in it"))
                .hint(format!("it has {}, numbered from 0 on", items.len()))
        }
    })
}

pub(super) fn load(
    store: &Store,
    members: &Members,
    selection: Selection<'_>,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let mut items = items(members)?;
    if items.is_empty() {
        return Err(Error::new(Kind::Invalid, "the archive has no images"));
    }
    if let Selection::Docker(Some(image)) = selection {
        items = vec![pick(items, image)?];
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
