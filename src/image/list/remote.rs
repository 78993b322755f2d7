//! Manifests and lists that are in registries.

use serde::Deserialize;

use super::local::{Described, media_type, platform};
use crate::error::{Context, Error, Kind, Result};
use crate::image::manifest::Blob;
use crate::image::registry::{self, RegistryOptions, Repository};
use crate::image::transfer;
use crate::spec::digest::Digest;
use crate::spec::oci::{Descriptor, Index, Manifest, OCI_INDEX, OCI_MANIFEST};
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::store::list::Member;

/// A document that a registry has under a name.
#[derive(Debug)]
pub struct Fetched {
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// Whether it is a list.
    pub is_list: bool,
    /// What it says it is.
    pub media_type: String,
}

/// Which members of a list are wanted.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// All of them.
    All,
    /// The one for a platform.
    For(Platform),
}

/// The members of a document that tell what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
}

/// Fetches the document that a name leads to.
pub fn fetch(reference: &Reference, options: &RegistryOptions) -> Result<Fetched> {
    let runtime = registry::runtime()?;
    transfer::at_places(reference, options, |repository, place| {
        runtime.block_on(document(repository, place.tag_or_digest()))
    })
    .context(|| format!("cannot fetch the manifest of {reference}"))
}

/// Fetches what a list says of an image, or of the members of another list.
pub fn members(
    reference: &Reference,
    wanted: &Wanted,
    options: &RegistryOptions,
) -> Result<Vec<Described>> {
    let runtime = registry::runtime()?;
    transfer::at_places(reference, options, |repository, place| {
        let fetched = runtime.block_on(document(repository, place.tag_or_digest()))?;
        runtime.block_on(describe(repository, reference, fetched, wanted))
    })
    .context(|| format!("cannot fetch the manifest of {reference}"))
}

async fn describe(
    repository: &Repository,
    reference: &Reference,
    fetched: Fetched,
    wanted: &Wanted,
) -> Result<Vec<Described>> {
    if !fetched.is_list {
        return Ok(vec![single(repository, reference, &fetched).await?]);
    }
    let index: Index = serde_json::from_slice(&fetched.data).context(|| "the list is malformed")?;
    let chosen = match wanted {
        Wanted::All => index.manifests,
        Wanted::For(platform) => vec![choose(&index, platform)?.clone()],
    };
    Ok(chosen
        .into_iter()
        .map(|descriptor| {
            let source = Some(reference.pinned(&descriptor.digest));
            (descriptor, Member { source, ..Member::default() })
        })
        .collect())
}

/// Describes an image that is in no list: its configuration says what it runs on.
async fn single(
    repository: &Repository,
    reference: &Reference,
    fetched: &Fetched,
) -> Result<Described> {
    let manifest: Manifest =
        serde_json::from_slice(&fetched.data).context(|| "the manifest is malformed")?;
    let runs_on = if manifest.is_image() {
        let Descriptor { digest, size, .. } = &manifest.config;
        let data = repository.document(&Blob { digest: digest.clone(), size: *size }).await?;
        Some(platform(&data).context(|| "the image's configuration is malformed")?)
    } else {
        None
    };
    let artifact_type = (!manifest.is_image()).then(|| manifest.kind().to_owned());
    let size = fetched.data.len() as u64;
    let descriptor = Descriptor {
        platform: runs_on,
        artifact_type,
        ..Descriptor::new(media_type(&manifest), fetched.digest.clone(), size)
    };
    let source = Some(reference.pinned(&fetched.digest));
    Ok((descriptor, Member { source, ..Member::default() }))
}

/// Returns the member of a list that runs on a platform.
pub fn choose<'a>(index: &'a Index, platform: &Platform) -> Result<&'a Descriptor> {
    let distance = |descriptor: &Descriptor| match &descriptor.platform {
        Some(offer) => {
            let variant = offer.variant.as_deref().filter(|variant| !variant.is_empty());
            platform.distance(&offer.os, &offer.architecture, variant)
        }
        // It may be anything; better than nothing.
        None => Some(u32::MAX),
    };
    let candidates =
        index.manifests.iter().filter_map(|descriptor| Some((distance(descriptor)?, descriptor)));
    candidates.min_by_key(|(distance, _)| *distance).map(|(_, descriptor)| descriptor).ok_or_else(
        || {
            let mut offers: Vec<String> = index
                .manifests
                .iter()
                .filter_map(|descriptor| descriptor.platform.as_ref())
                .map(|offer| format!("{}/{}", offer.os, offer.architecture))
                .collect();
            offers.sort();
            offers.dedup();
            let error = Error::new(
                Kind::NotFound,
                format!("no image found in manifest list for platform {platform}"),
            );
            match offers.is_empty() {
                true => error.hint("the list is empty; `barge manifest add` adds images to it"),
                false => error.hint(format!("there are images for: {}", offers.join(", "))),
            }
        },
    )
}

async fn document(repository: &Repository, name: &str) -> Result<Fetched> {
    let (data, digest) = repository.manifest(name).await?;
    parse(data, digest)
}

/// Finds out what a document is.
pub fn parse(data: Vec<u8>, digest: Digest) -> Result<Fetched> {
    let malformed = || "the manifest is malformed";
    let shape: Shape = serde_json::from_slice(&data).context(malformed)?;
    // A document with both means ill.
    let is_list = match (shape.manifests.is_some(), shape.layers.is_some()) {
        (true, false) => true,
        (false, true) => false,
        _ if shape.schema_version == 1 => {
            return Err(Error::new(
                Kind::Unsupported,
                "it has a manifest of schema version 1, which is no longer supported",
            )
            .hint("push it again with a tool that is newer than 2017"));
        }
        _ => return Err(Error::new(Kind::Invalid, malformed())),
    };
    let assumed = if is_list { OCI_INDEX } else { OCI_MANIFEST };
    let media_type = match shape.media_type.is_empty() {
        true => assumed.to_owned(),
        false => shape.media_type,
    };
    Ok(Fetched { data, digest, is_list, media_type })
}
