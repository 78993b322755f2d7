//! `manifest push`: a list and its members to a registry.

use super::ListPushOptions;
use crate::engine::events::record;
use crate::engine::images::{Progress, Pushed};
use crate::error::{Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::events::{Action, Event};
use crate::store::list::List;

/// Pushes a list; without a destination, under the name that it is called by. `then_remove` takes the
/// list away when it has been pushed.
pub fn push(
    store: &Store,
    text: &str,
    destination: Option<&str>,
    options: &ListPushOptions,
    then_remove: bool,
    progress: &dyn Progress,
) -> Result<(Reference, Pushed)> {
    let list = store.lists().lookup(text)?;
    let name = store.lists().find(text)?.and_then(|(_, name)| name);
    let to = match (destination, name) {
        (Some(text), _) => destination_of(text)?,
        (None, Some(name)) => name,
        (None, None) => {
            return Err(Error::new(Kind::Invalid, format!("`{text}` is an ID and no destination"))
                .hint(format!("say where to push it, as in: push {text} quay.io/USER/NAME")));
        }
    };
    let pushed = push_made(store, &list, &to, options, progress)?;
    if then_remove {
        super::remove::remove_whole(store, &list.id)?;
    }
    Ok((to, pushed))
}

/// Pushes a list that was just made.
pub fn push_made(
    store: &Store,
    list: &List,
    to: &Reference,
    options: &ListPushOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let pushed = crate::image::list::push(store, list, to, options, progress)?;
    record(store, &[Event::of_image(Action::Push, list.id.hex(), &to.to_string())]);
    Ok(pushed)
}

fn destination_of(text: &str) -> Result<Reference> {
    match text.split_once(':') {
        Some(("docker", rest)) if rest.starts_with("//") => rest[2..].parse(),
        Some(("oci" | "oci-archive" | "docker-archive" | "dir", _)) => {
            Err(Error::new(Kind::Unsupported, format!("cannot push a manifest list to `{text}`"))
                .hint("push it to a registry"))
        }
        _ => text.parse::<Reference>().and_then(|name| match name.digest() {
            Some(digest) => Err(no_digest(digest)),
            None => Ok(name),
        }),
    }
}

fn no_digest(digest: &Digest) -> Error {
    Error::new(Kind::Invalid, format!("cannot push to the digest {digest}"))
        .hint("a digest follows from the content; give a tag")
}
