//! `images`: which images there are, and who uses them.

use std::collections::HashMap;

use super::filter::{Filters, LIST_KEYS, check_filters, name_matches};
use super::remove::users;
use crate::engine::now;
use crate::error::{Error, Result};
use crate::spec::digest::{DiffId, ImageId};
use crate::spec::filter::Filter;
use crate::store::Store;
use crate::store::image::NamedImage;

/// What is to be listed.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Images of which this is true.
    pub filters: Vec<Filter>,
    /// Images with a name like this, as in `quay.io/*/app`; or with an ID that begins so.
    pub name: Option<String>,
    /// Whether it is to be found out how they are used.
    pub usage: bool,
}

/// The images of a store.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that were asked for, the newest first, with the names that were asked for.
    pub images: Vec<NamedImage>,
    /// How they are used, if that was asked for.
    pub usage: HashMap<ImageId, Usage>,
    /// What is wrong with images that cannot be read.
    pub damaged: Vec<Error>,
}

/// How images are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many containers were made from it.
    pub containers: usize,
    /// Bytes of its layers that other images have, too.
    pub shared: u64,
}

/// Returns images with their names.
pub fn list(store: &Store, options: &ListOptions) -> Result<Listing> {
    check_filters(&options.filters, &LIST_KEYS)?;
    let filters = Filters::new(store, &options.filters, now())?;
    let (all, damaged) = store.images().list_all()?;
    let usage = if options.usage { usage(store, &all)? } else { HashMap::new() };
    let mut images = Vec::new();
    for mut named in all {
        if !filters.pass(&named)? {
            continue;
        }
        filters.keep_names(&mut named.names);
        if let Some(name) = &options.name
            && !is_called(&mut named, name)
        {
            continue;
        }
        images.push(named);
    }
    let damaged = damaged.into_iter().map(|damaged| damaged.error).collect();
    Ok(Listing { images, usage, damaged })
}

/// Tells whether an image has a name, and leaves it with those names only; or an ID.
fn is_called(named: &mut NamedImage, name: &str) -> bool {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    if digits.len() >= 3 && named.image.id.hex().starts_with(digits) {
        return true;
    }
    named.names.retain(|own| name_matches(own, name));
    named.digests.retain(|own| name_matches(own, name));
    !named.names.is_empty() || (name.contains('@') && !named.digests.is_empty())
}

/// Finds out how images are used; `images` are all that there are.
pub(in crate::engine) fn usage(
    store: &Store,
    images: &[NamedImage],
) -> Result<HashMap<ImageId, Usage>> {
    let users = users(store)?;
    let mut having: HashMap<&DiffId, usize> = HashMap::new();
    for named in images {
        for layer in distinct(&named.image.layers) {
            *having.entry(layer).or_default() += 1;
        }
    }
    having.retain(|_, count| *count > 1);
    let mut sizes: HashMap<&DiffId, u64> = HashMap::new();
    for layer in having.into_keys() {
        // One that is missing takes no space.
        sizes.insert(layer, store.layers().info(layer).map_or(0, |info| info.size));
    }
    let usage = |named: &NamedImage| {
        let image = &named.image;
        let shared = distinct(&image.layers).into_iter().filter_map(|layer| sizes.get(layer)).sum();
        let containers = users.get(&image.id).map_or(0, Vec::len);
        (image.id.clone(), Usage { containers, shared })
    };
    Ok(images.iter().map(usage).collect())
}

/// An image may have a layer twice, an empty one as a rule.
fn distinct(layers: &[DiffId]) -> Vec<&DiffId> {
    let mut layers: Vec<&DiffId> = layers.iter().collect();
    layers.sort_unstable();
    layers.dedup();
    layers
}

/// Tells whether there is such an image.
pub fn exists(store: &Store, name: &str) -> Result<bool> {
    Ok(store.images().find(name)?.is_some() || store.lists().find(name)?.is_some())
}
