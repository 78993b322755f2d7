//! `artifact push`: an artifact to a registry.

use crate::engine::images::{Progress, RegistryOptions};
use crate::error::Result;
use crate::spec::digest::Digest;
use crate::spec::reference::Reference;
use crate::store::Store;

/// Pushes an artifact; without a destination, under its own name. Returns the digest of its manifest.
pub fn push(
    store: &Store,
    name: &str,
    destination: Option<&str>,
    options: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<Digest> {
    let artifact = store.artifacts().lookup(name)?;
    let to: Reference = match destination {
        Some(text) => text.strip_prefix("docker://").unwrap_or(text).parse()?,
        None => artifact.name.clone(),
    };
    crate::image::artifact::push(store, &artifact, &to, options, progress)
}
