//! `image inspect`: all that is known of an image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::spec::image::ImageConfig;
use crate::spec::storage::DriverName;
use crate::store::Store;
use crate::store::image::NamedImage;

/// All that is known of an image.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its record and names.
    pub named: NamedImage,
    /// Its configuration document.
    pub config: ImageConfig,
    /// What its manifest says, if it came with one.
    pub manifest: ManifestFacts,
    /// How the layers are stored.
    pub driver: DriverName,
    /// Directories of its layers, the uppermost first.
    pub layers: Vec<PathBuf>,
}

/// What a manifest says besides what the image consists of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ManifestFacts {
    /// Its type; OCI's own if it says none.
    pub media_type: Option<String>,
    /// Remarks.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Finds an image and reads all of it.
pub fn inspect(store: &Store, name: &str) -> Result<Inspection> {
    let image = store.images().lookup(name).map_err(|error| elsewhere(store, name, error))?;
    let config = store.images().config(&image.id)?;
    let document = match &image.manifest_digest {
        Some(digest) => store.blobs().read(digest)?,
        None => None,
    };
    // It was understood when the image came.
    let mut manifest: ManifestFacts =
        document.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    if manifest.annotations.is_none() && !image.annotations.is_empty() {
        manifest.annotations = Some(image.annotations.clone());
    }
    let layers = image.layers.iter().rev().map(|layer| store.layers().path(layer)).collect();
    Ok(Inspection {
        named: store.images().with_names(image)?,
        config,
        manifest,
        driver: store.driver(),
        layers,
    })
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
