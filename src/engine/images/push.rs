//! `push`: an image to a registry.

use super::Progress;
use crate::engine::lists::{self, ListPushOptions};
use crate::error::{Context, Error, Kind, Result};
use crate::image::push::{PushOptions, Pushed};
use crate::spec::digest::Digest;
use crate::spec::reference::Reference;
use crate::store::Store;

/// Pushes an image; without a destination, under the name that it is called by.
pub fn push(
    store: &Store,
    image: &str,
    destination: Option<&str>,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<(Reference, Pushed)> {
    if store.lists().find(image)?.is_some() {
        let registry = options.registry.clone();
        let options = ListPushOptions { members: true, words: None, registry };
        return lists::push(store, image, destination, &options, false, progress);
    }
    let found = store.images().lookup(image)?;
    let to = destination_of(image, destination)?;
    let pushed = crate::image::push::push(store, &found, &to, options, progress)?;
    Ok((to, pushed))
}

fn destination_of(image: &str, destination: Option<&str>) -> Result<Reference> {
    if destination.is_none() {
        let hex = image.strip_prefix("sha256:").unwrap_or(image);
        if Digest::from_hex(hex).is_ok() {
            return Err(Error::new(
                Kind::Invalid,
                format!("`{image}` is an ID and no destination"),
            )
            .hint(format!("say where to push it, as in: push {image} quay.io/USER/NAME")));
        }
    }
    let text = destination.unwrap_or(image);
    text.strip_prefix("docker://")
        .unwrap_or(text)
        .parse::<Reference>()
        .context(|| format!("cannot push to `{text}`"))
}
