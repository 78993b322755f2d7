//! `save`: images into an archive or a directory.

use super::Progress;
use crate::engine::events::record;
use crate::error::{Error, Kind, Result};
use crate::image::outgoing::Form;
use crate::image::save::{SaveFormat, SaveTarget, SavedImage};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::events::{Action, Event};
use crate::store::image::not_known;

/// Saves images under the names that they are called by; an ID is no name.
///
/// A word behind the first that is no image's name becomes a further name of the first image, unless
/// there are only images, which `only_images` says.
pub fn save(
    store: &Store,
    words: &[String],
    only_images: bool,
    format: SaveFormat,
    form: &Form,
    target: SaveTarget<'_>,
    progress: &dyn Progress,
) -> Result<()> {
    let mut images: Vec<SavedImage> = Vec::new();
    for word in words {
        match store.images().find_named(word)? {
            Some((image, name)) => images.push(SavedImage::new(image, name.as_slice())),
            None => match images.first_mut() {
                Some(first) if !only_images => {
                    let name = Reference::local(word)?;
                    if name.digest().is_some() {
                        return Err(not_known(word));
                    }
                    first.names.push(name.to_string());
                }
                _ => return Err(not_known(word)),
            },
        }
    }
    // `NAME@DIGEST` says which image it is, and is no name to give.
    for image in &mut images {
        image.names.retain(|name| !name.contains('@'));
    }
    if images.is_empty() {
        return Err(Error::new(Kind::Invalid, "there is no image to save"));
    }
    crate::image::save::save(store, &images, format, form, target, progress)?;
    let event = |saved: &SavedImage| {
        let name = saved.names.first().map(String::as_str).unwrap_or_default();
        Event::of_image(Action::Save, saved.image.id.hex(), name)
    };
    record(store, &images.iter().map(event).collect::<Vec<_>>());
    Ok(())
}
