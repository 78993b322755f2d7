//! `import`: an image from a root file system.

use std::io::BufRead;

use super::{ImportOptions, Progress};
use crate::error::Result;
use crate::store::Store;
use crate::store::image::Image;

/// Makes an image of one layer from a tar archive, compressed or not.
pub fn import(
    store: &Store,
    input: impl BufRead,
    options: &ImportOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    if let Some(name) = &options.name {
        super::tag::check_new_name(name)?;
    }
    crate::image::import::import(store, input, options, progress)
}
