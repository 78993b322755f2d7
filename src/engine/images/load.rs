//! `load`: images from an archive.

use super::{ArchiveSource, Progress, free_space};
use crate::error::Result;
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::image::NamedImage;

/// Loads all images of an archive, and gives them the names that they have there.
pub fn load(
    store: &Store,
    source: ArchiveSource<'_>,
    platform: Option<&Platform>,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let host = Platform::host();
    crate::image::archive::load(store, source, platform.unwrap_or(&host), progress)
        .inspect_err(|error| free_space(store, error))
}
