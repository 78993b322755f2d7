//! `artifact add`: an artifact of files.

use std::path::PathBuf;

use super::AddOptions;
use crate::engine::{images, now};
use crate::error::{Error, Kind, Result};
use crate::spec::reference::Reference;
use crate::spec::time;
use crate::store::Store;
use crate::store::artifact::Artifact;

/// Makes an artifact of files, or adds them to one.
pub fn add(store: &Store, name: &str, files: &[PathBuf], options: AddOptions) -> Result<Artifact> {
    if options.append && options.kind.is_some() {
        return Err(Error::new(Kind::Invalid, "append option is not compatible with type option"));
    }
    if options.append && options.replace {
        return Err(Error::new(Kind::Invalid, "--append and --replace cannot be set together"));
    }
    let name = match (options.append, store.artifacts().find(name)) {
        // It may be one that came from a registry, by a short name.
        (true, Ok(Some(artifact))) => artifact.name,
        _ => Reference::local(name)?,
    };
    images::check_new_name(&name)?;
    let options = AddOptions { created: time::rfc3339(now()), ..options };
    let (artifact, before) = crate::image::artifact::add(store, &name, files, &options)?;
    super::free(store, before.as_ref())?;
    Ok(artifact)
}
