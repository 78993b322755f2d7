//! `artifact pull`: an artifact from a registry.

use crate::engine::images::{Progress, RegistryOptions};
use crate::error::Result;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::artifact::Artifact;

/// Pulls an artifact.
pub fn pull(
    store: &Store,
    name: &str,
    options: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<Artifact> {
    let name: Reference = name.strip_prefix("docker://").unwrap_or(name).parse()?;
    let (artifact, before) = crate::image::artifact::pull(store, &name, options, progress)?;
    let replaced = before.filter(|before| before.digest != artifact.digest);
    super::free(store, replaced.as_ref())?;
    Ok(artifact)
}
