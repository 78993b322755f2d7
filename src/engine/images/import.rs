//! `import`: an image from a root file system.

use std::io::BufRead;

use super::{ImportOptions, Progress};
use crate::engine::events::record;
use crate::error::Result;
use crate::image::registry::WebFile;
use crate::store::Store;
use crate::store::events::{Action, Event};
use crate::store::image::Image;

/// Where the archive of a root file system comes from.
pub enum ImportSource<'a> {
    /// A file or a pipe.
    Stream(Box<dyn BufRead + 'a>),
    /// An address that begins with `http://` or `https://`.
    Url(&'a str),
}

/// Makes an image of one layer from a tar archive, compressed or not.
pub fn import(
    store: &Store,
    source: ImportSource<'_>,
    options: &ImportOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    if let Some(name) = &options.name {
        super::tag::check_new_name(name)?;
    }
    let import = |input| crate::image::import::import(store, input, options, progress);
    let image = match source {
        ImportSource::Stream(stream) => import(stream),
        ImportSource::Url(url) => import(Box::new(WebFile::open(url)?)),
    }
    .inspect_err(|error| super::free_space(store, error))?;
    store.flush_later()?;
    let name = options.name.as_ref().map(ToString::to_string).unwrap_or_default();
    record(store, &[Event::of_image(Action::Import, image.id.hex(), &name)]);
    Ok(image)
}
