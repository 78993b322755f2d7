//! What a list says of an image of this store.

use serde::Deserialize;

use crate::error::{Context, Error, Kind, Result};
use crate::image::outgoing::{Form, Outgoing, Part};
use crate::image::record::{Origin, parse_config, record};
use crate::spec::compression::Compression;
use crate::spec::digest::Digest;
use crate::spec::image::ImageConfig;
use crate::spec::oci::{DOCKER_MANIFEST, Descriptor, ImagePlatform, Manifest, OCI_MANIFEST};
use crate::store::Store;
use crate::store::image::Image;
use crate::store::list::Member;
use crate::store::packed::Packed;

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

/// Describes an image of this store by the manifest that it came with, or by one that is made for it.
///
/// The caller keeps the collector of garbage away.
pub fn local(store: &Store, image: &Image) -> Result<Described> {
    describe(store, image)
        .context(|| format!("cannot add image {} to a manifest list", image.id.short()))
}

fn describe(store: &Store, image: &Image) -> Result<Described> {
    let missing =
        || Error::new(Kind::NotFound, "a document of it is missing").hint("pull it again");
    let config = store.blobs().read(&image.id.0)?.ok_or_else(missing)?;
    let (data, digest) = match &image.manifest_digest {
        Some(digest) => (store.blobs().read(digest)?.ok_or_else(missing)?, digest.clone()),
        None => {
            let data = make(store, image)?;
            let digest = store.blobs().write(&data)?;
            (data, digest)
        }
    };
    let manifest: Manifest =
        serde_json::from_slice(&data).context(|| "its manifest is malformed")?;
    let descriptor = Descriptor {
        platform: Some(platform(&config).context(|| "its configuration is malformed")?),
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
        .find(|name| name.digest() == Some(&digest));
    let member = Member {
        image: Some(image.id.clone()),
        made: image.manifest_digest.is_none(),
        layers: image.layers.clone(),
        blobs,
        source,
    };
    Ok((descriptor, member))
}

/// Makes the manifest of an image whose layers are not compressed.
fn make(store: &Store, image: &Image) -> Result<Vec<u8>> {
    let outgoing = Outgoing::of(store, image, &Form::default())?;
    let plain = |part: &Part| {
        Ok(Packed {
            digest: part.id.0.clone(),
            size: part.size()?,
            compression: Compression::None,
            level: None,
        })
    };
    let layers = outgoing.parts.iter().map(plain).collect::<Result<Vec<_>>>()?;
    outgoing.manifest(&layers).map(|ready| ready.data)
}

/// Returns the image of a member, also if it is no longer on record; `None` if it is not here.
pub(in crate::image) fn image(store: &Store, member: &Member) -> Result<Option<Image>> {
    let Some(id) = &member.image else { return Ok(None) };
    if let Some(image) = store.images().get(id)? {
        return Ok(Some(image));
    }
    let Some(config) = store.blobs().read(&id.0)? else { return Ok(None) };
    let document = parse_config(&config)?;
    Ok(Some(Image {
        id: id.clone(),
        layers: member.layers.clone(),
        config: document.config,
        architecture: document.architecture,
        variant: document.variant,
        os: document.os,
        created: 0,
        size: 0,
        manifest_digest: None,
        blobs: Vec::new(),
        builtin: None,
        format: None,
        annotations: std::collections::BTreeMap::new(),
    }))
}

/// Puts an image on record again that a list has kept all parts of; `None` if it has not.
pub fn restore(store: &Store, digest: &Digest, member: &Member) -> Result<Option<Image>> {
    let (Some(id), Some(document)) = (&member.image, store.blobs().read(digest)?) else {
        return Ok(None);
    };
    let Some(config) = store.blobs().read(&id.0)? else { return Ok(None) };
    let origin = match member.made {
        // One that was made is nothing that it came with.
        true => Origin::default(),
        false => Origin {
            manifest: Some(digest.clone()),
            documents: vec![document],
            blobs: member.blobs.clone(),
            builtin: None,
            format: None,
            annotations: std::collections::BTreeMap::new(),
        },
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
