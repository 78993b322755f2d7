//! What a list says of an image of this store.

use serde::Deserialize;

use crate::error::{Context, Error, Kind, Result};
use crate::image::record::{Origin, record};
use crate::spec::digest::Digest;
use crate::spec::image::ImageConfig;
use crate::spec::oci::{DOCKER_MANIFEST, Descriptor, ImagePlatform, Manifest, OCI_MANIFEST};
use crate::store::Store;
use crate::store::image::Image;
use crate::store::list::Member;

/// What a list says of a member, and where the member is.
pub type Described = (Descriptor, Member);

/// What a configuration says of the operating system, beyond what it says to those who run it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct System {
    #[serde(rename = "os.version")]
    version: Option<String>,
    #[serde(rename = "os.features")]
    features: Option<Vec<String>>,
}

/// Describes an image of this store by the manifest that it came with.
pub fn local(store: &Store, image: &Image) -> Result<Described> {
    let context = || format!("cannot add image {} to a manifest list", image.id.short());
    let Some(digest) = &image.manifest_digest else {
        return Err(Error::new(Kind::Unsupported, "it has no manifest")
            .hint("push it to a registry, and add it from there"))
        .context(context);
    };
    let missing =
        || Error::new(Kind::NotFound, "a document of it is missing").hint("pull it again");
    let data = store.blobs().read(digest)?.ok_or_else(missing).context(context)?;
    let manifest: Manifest = serde_json::from_slice(&data).context(context)?;
    let config = store.blobs().read(&image.id.0)?.ok_or_else(missing).context(context)?;
    let descriptor = Descriptor {
        platform: Some(platform(&config).context(context)?),
        ..Descriptor::new(media_type(&manifest), digest.clone(), data.len() as u64)
    };
    let here = |blob: &Digest| store.blobs().exists(blob);
    let mut blobs: Vec<_> = manifest.blobs().map(|blob| blob.digest.clone()).filter(here).collect();
    blobs.push(digest.clone());
    let source = store
        .images()
        .with_names(image.clone())?
        .digests
        .into_iter()
        .find(|name| name.digest() == Some(digest));
    let member =
        Member { image: Some(image.id.clone()), layers: image.layers.clone(), blobs, source };
    Ok((descriptor, member))
}

/// Puts an image on record again that a list has kept all parts of; `None` if it has not.
pub fn restore(store: &Store, digest: &Digest, member: &Member) -> Result<Option<Image>> {
    let (Some(id), Some(document)) = (&member.image, store.blobs().read(digest)?) else {
        return Ok(None);
    };
    let Some(config) = store.blobs().read(&id.0)? else { return Ok(None) };
    let origin = Origin {
        manifest: Some(digest.clone()),
        documents: vec![document],
        blobs: member.blobs.clone(),
        builtin: None,
    };
    record(store, &config, origin, &[])
}

/// Returns what an image with this configuration runs on.
pub(super) fn platform(config: &[u8]) -> Result<ImagePlatform, serde_json::Error> {
    let image: ImageConfig = serde_json::from_slice(config)?;
    let system: System = serde_json::from_slice(config)?;
    Ok(ImagePlatform {
        architecture: image.architecture,
        os: image.os,
        os_version: system.version,
        os_features: system.features.unwrap_or_default(),
        variant: image.variant,
        features: Vec::new(),
    })
}

/// Returns what a manifest is; old ones of OCI do not say it.
pub(super) fn media_type(manifest: &Manifest) -> &str {
    match &*manifest.media_type {
        "" if manifest.config.media_type.starts_with("application/vnd.docker.") => DOCKER_MANIFEST,
        "" => OCI_MANIFEST,
        known => known,
    }
}
