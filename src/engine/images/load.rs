//! `load`: images from an archive; and `pull` from one.

use std::path::{Path, PathBuf};

use super::{ArchiveSource, Progress, free_space};
use crate::engine::events::record;
use crate::error::{Context, Result};
use crate::image::archive::{self, Selection};
use crate::image::registry::WebFile;
use crate::spec::location::Location;
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::events::{Action, Event};
use crate::store::image::NamedImage;

/// How images are loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// For which platform; this machine's if nothing is said.
    pub platform: Option<Platform>,
    /// Says whose signatures images must have, in place of the usual file.
    pub signature_policy: Option<PathBuf>,
}

/// Loads all images of an archive, and gives them the names that they have there.
pub fn load(
    store: &Store,
    source: ArchiveSource<'_>,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    take(store, source, options, Selection::All, progress)
}

/// As [`load`], from an address that begins with `http://` or `https://`.
pub fn load_from_web(
    store: &Store,
    address: &str,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let source = ArchiveSource::Stream(Box::new(WebFile::open(address)?));
    load(store, source, options, progress)
}

/// Loads what a place that is no registry has, as in `oci:DIR:NAME`; `None` if it is one.
pub(super) fn from_place(
    store: &Store,
    text: &str,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Option<Vec<NamedImage>>> {
    if !Location::is_no_registry(text) {
        return Ok(None);
    }
    let context = || format!("cannot pull {text}");
    let location = text.parse::<Location>().context(context)?;
    let (path, selection): (&Path, _) = match &location {
        Location::DockerArchive(path, image) => (path, Selection::Docker(image.as_ref())),
        Location::OciArchive(path, word) => (path, Selection::OciArchive(word.as_deref())),
        Location::OciDir(path, word) => (path, Selection::OciDir(word.as_deref())),
        Location::Dir(path) => (path, Selection::Directory),
        Location::Registry(_) => return Ok(None),
    };
    let loaded = take(store, ArchiveSource::Path(path), options, selection, progress);
    loaded.context(context).map(Some)
}

fn take(
    store: &Store,
    source: ArchiveSource<'_>,
    options: &LoadOptions,
    selection: Selection<'_>,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let host = Platform::host();
    let options = archive::LoadOptions {
        platform: options.platform.as_ref().unwrap_or(&host),
        signature_policy: options.signature_policy.as_deref(),
        selection,
    };
    let loaded = archive::load(store, source, &options, progress)
        .inspect_err(|error| free_space(store, error))?;
    store.flush_later()?;
    let action = if matches!(selection, Selection::All) { Action::Load } else { Action::Pull };
    let event = |named: &NamedImage| {
        let name = named.names.first().map(ToString::to_string).unwrap_or_default();
        Event::of_image(action, named.image.id.hex(), &name)
    };
    record(store, &loaded.iter().map(event).collect::<Vec<_>>());
    Ok(loaded)
}
