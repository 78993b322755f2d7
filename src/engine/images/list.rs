//! `images`: which images there are.

use crate::error::Result;
use crate::store::Store;
use crate::store::image::NamedImage;

/// Returns all images and manifest lists with their names, the newest first.
pub fn list(store: &Store) -> Result<Vec<NamedImage>> {
    let mut images = store.images().list()?;
    let lists = store.lists().list()?;
    if !lists.is_empty() {
        images.extend(lists);
        images.sort_by_key(|named| std::cmp::Reverse(named.image.created));
    }
    Ok(images)
}

/// Tells whether there is such an image.
pub fn exists(store: &Store, name: &str) -> Result<bool> {
    Ok(store.images().find(name)?.is_some() || store.lists().find(name)?.is_some())
}
