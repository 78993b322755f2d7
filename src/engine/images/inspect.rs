//! `image inspect`: all that is known of an image.

use crate::error::Result;
use crate::spec::image::ImageConfig;
use crate::store::Store;
use crate::store::image::NamedImage;

/// All that is known of an image.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its record and names.
    pub named: NamedImage,
    /// Its configuration document.
    pub config: ImageConfig,
}

/// Finds an image and reads all of it.
pub fn inspect(store: &Store, name: &str) -> Result<Inspection> {
    let image = store.images().lookup(name)?;
    let config = store.images().config(&image.id)?;
    Ok(Inspection { named: store.images().with_names(image)?, config })
}
