//! `image inspect`: all that is known of an image.

use crate::error::{Error, Kind, Result};
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
    let image = store.images().lookup(name).map_err(|error| elsewhere(store, name, error))?;
    let config = store.images().config(&image.id)?;
    Ok(Inspection { named: store.images().with_names(image)?, config })
}

/// Says where to look for what is no image.
fn elsewhere(store: &Store, name: &str, error: Error) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    // The failure to report is the first one.
    if matches!(store.lists().find(name), Ok(Some(_))) {
        return error.hint(format!("it is a manifest list; see `barge manifest inspect {name}`"));
    }
    if matches!(store.artifacts().find(name), Ok(Some(_))) {
        return error.hint(format!("it is an artifact; see `barge artifact inspect {name}`"));
    }
    error
}
