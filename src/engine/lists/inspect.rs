//! `manifest inspect`: what a list contains, here or in a registry.

use crate::engine::images::{RegistryOptions, attempt};
use crate::error::Result;
use crate::image::list::{Fetched, fetch, parse};
use crate::store::Store;
use crate::store::registries;

/// What was found.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The document, as it is or would be pushed.
    pub document: Vec<u8>,
    /// What it is, if it is no list but the manifest of one image.
    pub single: Option<String>,
}

/// Reads a list of this store, or a list or manifest of a registry.
pub fn inspect(store: &Store, text: &str, registry: &RegistryOptions) -> Result<Inspection> {
    let name = text.strip_prefix("docker://");
    if name.is_none()
        && let Some((list, _)) = store.lists().find(text)?
    {
        return Ok(Inspection { document: list.bytes()?, single: None });
    }
    let wanted = name.unwrap_or(text);
    let names = registries::read()?.resolve(wanted)?.names;
    let fetched = match (attempt(wanted, &names, |name| fetch(name, registry)), name) {
        // An image that was pulled brought its manifest along.
        (Err(error), None) => own_manifest(store, text)?.ok_or(error)?,
        (fetched, _) => fetched?,
    };
    let single = (!fetched.is_list).then_some(fetched.media_type);
    Ok(Inspection { document: fetched.data, single })
}

fn own_manifest(store: &Store, text: &str) -> Result<Option<Fetched>> {
    let Some(digest) = store.images().find(text)?.and_then(|image| image.manifest_digest) else {
        return Ok(None);
    };
    store.blobs().read(&digest)?.map(|data| parse(data, digest)).transpose()
}
