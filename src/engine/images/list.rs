//! `images`: which images there are.

use crate::error::Result;
use crate::store::Store;
use crate::store::image::NamedImage;

/// Returns all images with their names, the newest first.
pub fn list(store: &Store) -> Result<Vec<NamedImage>> {
    store.images().list()
}

/// Tells whether there is such an image.
pub fn exists(store: &Store, name: &str) -> Result<bool> {
    Ok(store.images().find(name)?.is_some())
}
