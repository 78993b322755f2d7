//! `artifact pull`: an artifact from a registry.

use crate::engine::images::{Progress, RegistryOptions, attempt};
use crate::error::Result;
use crate::store::Store;
use crate::store::artifact::Artifact;
use crate::store::registries;

/// Pulls an artifact.
pub fn pull(
    store: &Store,
    name: &str,
    options: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<Artifact> {
    let name = name.strip_prefix("docker://").unwrap_or(name);
    let names = registries::read()?.resolve(name)?.names;
    let (artifact, before) =
        attempt(name, &names, |name| crate::image::artifact::pull(store, name, options, progress))?;
    let replaced = before.filter(|before| before.digest != artifact.digest);
    super::free(store, replaced.as_ref())?;
    Ok(artifact)
}
