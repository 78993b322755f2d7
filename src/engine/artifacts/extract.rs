//! `artifact extract`: files of an artifact, back to this machine.

use std::path::Path;

use super::{Choice, inspect};
use crate::error::Result;
use crate::store::Store;

/// Writes files of an artifact into a directory, or one of them to a file.
pub fn extract(store: &Store, name: &str, target: &Path, choice: &Choice) -> Result<()> {
    let found = inspect(store, name)?;
    crate::image::artifact::extract(store, &found.manifest, target, choice)
}
