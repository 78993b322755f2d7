//! What a registry has under a name: asked for, and not pulled.

use crate::error::Result;
use crate::image::list::{Wanted, fetch, members};
use crate::image::registry::RegistryOptions;
use crate::spec::digest::Digest;
use crate::spec::oci::ImagePlatform;
use crate::spec::reference::Reference;

/// What a registry has under a name.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// What the document is: a manifest, or a list.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What there are images for.
    pub platforms: Vec<ImagePlatform>,
}

/// Asks a registry what it has under a name.
pub fn distribution(name: &Reference, options: &RegistryOptions) -> Result<Distribution> {
    let fetched = fetch(name, options)?;
    // By its digest: the name may lead elsewhere by now.
    let described = members(&name.pinned(&fetched.digest), &Wanted::All, options)?;
    Ok(Distribution {
        media_type: fetched.media_type,
        size: fetched.data.len() as u64,
        digest: fetched.digest,
        platforms: described
            .into_iter()
            .filter_map(|(descriptor, _)| descriptor.platform)
            .collect(),
    })
}
