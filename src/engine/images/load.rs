//! `load`: images from an archive.

use super::{ArchiveSource, Progress, free_space};
use crate::engine::events::record;
use crate::error::Result;
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::events::{Action, Event};
use crate::store::image::NamedImage;

/// Loads all images of an archive, and gives them the names that they have there.
pub fn load(
    store: &Store,
    source: ArchiveSource<'_>,
    platform: Option<&Platform>,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let host = Platform::host();
    let loaded = crate::image::archive::load(store, source, platform.unwrap_or(&host), progress)
        .inspect_err(|error| free_space(store, error))?;
    let event = |named: &NamedImage| {
        let name = named.names.first().map(ToString::to_string).unwrap_or_default();
        Event::of_image(Action::Load, named.image.id.hex(), &name)
    };
    record(store, &loaded.iter().map(event).collect::<Vec<_>>());
    Ok(loaded)
}
