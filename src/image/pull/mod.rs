//! Pulls an image from a registry: layers that are missing, at once, each unpacked as it arrives.
//!
//! A reference leads to places to ask (mirrors, then the registry itself); the first that has the image
//! counts, and whatever goes wrong there is made good by the next. The name on record is the one that
//! was asked for. What came before a pull broke off is kept: [`crate::store::partial`].

mod layers;

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::manifest::{Document, Manifest, choose};
use super::policy::{Candidate, Policy};
use super::progress::{Progress, ProgressEvent};
use super::record::{Origin, disturbed, parse_config, record};
use super::registry::{self, RegistryOptions, Repository};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::spec::image::ImageConfig;
use crate::spec::platform::Platform;
use crate::spec::reference::{BUILTIN_REGISTRY, Reference};
use crate::spec::registries::Place;
use crate::store::Store;
use crate::store::blob::digest_of;
use crate::store::garbage::Parts;
use crate::store::image::Image;
use crate::store::registries;

/// How often layers that others remove under our hands are fetched again.
const ROUNDS: usize = 3;
/// An index may lead to the image through one other index.
const MAX_INDEXES: usize = 2;

/// An image as its registry describes it.
struct Description {
    manifest: Manifest,
    /// Bytes of the manifest, and of the indexes that led to it.
    documents: Vec<Vec<u8>>,
    /// Digests of these, the manifest's first.
    digests: Vec<Digest>,
    config_bytes: Vec<u8>,
    config: ImageConfig,
}

impl Description {
    /// Returns all that the image will consist of.
    fn parts(&self) -> Parts {
        let blobs = self.manifest.layers.iter().map(|blob| &blob.digest);
        let blobs = blobs.chain(&self.digests).chain([&self.manifest.config.digest]);
        Parts::of(&self.config.rootfs.diff_ids, blobs)
    }
}

/// Pulls an image and names it.
pub fn pull(
    store: &Store,
    reference: &Reference,
    platform: Option<&Platform>,
    options: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    if reference.registry() == BUILTIN_REGISTRY {
        return Err(Error::new(
            Kind::NotFound,
            format!("there is no built-in image `{}`", reference.path()),
        )
        .hint("the built-in images are builtin/hello and builtin/host"));
    }
    store.gc_tmp()?;
    store.remove_old_partials()?;
    let context = || format!("cannot pull {reference}");
    let policy = Policy::load(options.signature_policy.as_deref()).context(context)?;
    let places = registries::read()?.places(reference).context(context)?;
    progress.update(ProgressEvent::Trying(reference));
    let runtime = registry::runtime()?;
    let mut failed_mirrors = String::new();
    let mut last_failure = None;
    for place in &places {
        let pull = Pull {
            store,
            runtime: &runtime,
            policy: &policy,
            reference,
            place,
            platform,
            progress,
        };
        match pull.run(options) {
            Ok(image) => return Ok(image),
            // No other place makes room here.
            Err(error) if error.is_full_disk() => return Err(error).context(context),
            Err(error) => {
                if place.is_mirror {
                    failed_mirrors += &format!("[{}: {error}] ", place.reference);
                }
                last_failure = Some(error);
            }
        }
    }
    // There is always at least one place.
    let failure = last_failure.unwrap_or_else(|| Error::new(Kind::Internal, "nobody was asked"));
    let failure = match failed_mirrors.as_str() {
        "" => failure,
        mirrors => failure.within(format!("(mirrors also failed: {})", mirrors.trim_end())),
    };
    Err(failure).context(context)
}

/// Lists the tags of the repository that a reference is in.
pub fn tags(reference: &Reference, options: &RegistryOptions) -> Result<Vec<String>> {
    let context = || format!("cannot list the tags of {}", reference.repository());
    let places = registries::read()?.places(reference).context(context)?;
    let runtime = registry::runtime()?;
    // Mirrors need not have all of them; the last place is the registry itself.
    let place = places.last().ok_or_else(|| Error::new(Kind::Internal, context()))?;
    let repository = Repository::at(place, options).context(context)?;
    runtime.block_on(repository.tags()).context(context)
}

/// A pull from one place.
struct Pull<'a> {
    store: &'a Store,
    runtime: &'a Runtime,
    policy: &'a Policy,
    /// What was asked for.
    reference: &'a Reference,
    place: &'a Place,
    platform: Option<&'a Platform>,
    progress: &'a dyn Progress,
}

impl Pull<'_> {
    fn run(&self, options: &RegistryOptions) -> Result<Image> {
        let Self { store, runtime, reference, progress, .. } = *self;
        let mut options = options.clone();
        if self.place.reference.registry() != reference.registry() {
            // They were given for the registry that was named, not for who stands in for it.
            options.credentials = None;
        }
        let repository = Arc::new(Repository::at(self.place, &options)?);
        if let Some(image) = runtime.block_on(self.unchanged(&repository))? {
            return Ok(image);
        }
        let described = runtime.block_on(self.describe(&repository))?;
        self.check_platform(&described.config)?;
        progress.update(ProgressEvent::Layers(described.manifest.layers.len()));
        progress.update(ProgressEvent::Config(&described.manifest.config.digest));

        let mut names: Vec<Reference> =
            described.digests.iter().map(|digest| reference.with_digest(digest)).collect();
        if reference.digest().is_none() {
            names.push(reference.clone());
        }
        let _pin = store.pin(&described.parts())?;
        for _ in 0..ROUNDS {
            let missing = layers::missing(store, &described, progress);
            layers::fetch(store, runtime, &repository, missing, progress)?;
            progress.update(ProgressEvent::Recording);
            let layers = described.manifest.layers.iter().map(|blob| blob.digest.clone());
            let origin = Origin {
                manifest: described.digests.first().cloned(),
                documents: described.documents.clone(),
                blobs: layers.collect(),
                builtin: None,
                format: None,
                annotations: crate::spec::oci::Annotations::new(),
            };
            if let Some(image) = record(store, &described.config_bytes, origin, &names)? {
                return Ok(image);
            }
        }
        Err(disturbed())
    }

    /// Returns the image that is here if it is what the registry has: one question tells.
    ///
    /// Asking for no more than the digest does not count as a pull where pulls are counted.
    async fn unchanged(&self, repository: &Repository) -> Result<Option<Image>> {
        let Self { store, reference, .. } = *self;
        // What is damaged is no image, and will be replaced.
        if !self.policy.accepts_all(reference)
            || !matches!(store.images().named(reference), Ok(Some(_)))
        {
            return Ok(None);
        }
        let digest = match reference.digest() {
            Some(digest) => digest.clone(),
            None => match repository.digest(self.place.reference.tag_or_digest()).await? {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        let Ok(Some(image)) = store.images().named(&reference.with_digest(&digest)) else {
            return Ok(None);
        };
        let host = Platform::host();
        let platform = self.platform.unwrap_or(&host);
        let fits = platform.distance(&image.os, &image.architecture, image.variant.as_deref());
        let is_whole = image.layers.iter().all(|layer| store.layers().is_wanted(layer))
            && image.blobs.iter().all(|blob| store.blobs().exists(blob))
            && store.blobs().read(&image.id.0).is_ok();
        if fits != Some(0) || !is_whole {
            return Ok(None);
        }
        if reference.digest().is_none() {
            match store.images().tag(&image.id, reference) {
                Ok(()) => {}
                // Somebody has removed it meanwhile.
                Err(error) if error.kind() == Kind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        for layer in &image.layers {
            self.progress.update(ProgressEvent::Present(layer));
        }
        self.progress.update(ProgressEvent::Config(&image.id.0));
        self.progress.update(ProgressEvent::Recording);
        Ok(Some(image))
    }

    /// Asks what the image consists of.
    async fn describe(&self, repository: &Repository) -> Result<Description> {
        let host = Platform::host();
        let platform = self.platform.unwrap_or(&host);
        let (data, digest) = repository.manifest(self.place.reference.tag_or_digest()).await?;
        let (mut documents, mut digests) = (vec![data], vec![digest]);
        let manifest = loop {
            match Document::parse(&documents[0])? {
                Document::Manifest(manifest) => break manifest,
                Document::Index(_) if documents.len() > MAX_INDEXES => {
                    return Err(Error::new(
                        Kind::Invalid,
                        "the image's index leads to an index of indexes",
                    ));
                }
                Document::Index(index) => {
                    let chosen = choose(&index, platform)?.digest;
                    let data = match self.store.blobs().read(&chosen) {
                        Ok(Some(known)) => known,
                        // A damaged one is replaced.
                        Ok(None) | Err(_) => repository.manifest(chosen.as_str()).await?.0,
                    };
                    documents.insert(0, data);
                    digests.insert(0, chosen);
                }
            }
        };
        let candidate =
            Candidate { name: self.reference, at: &self.place.reference, manifest: &documents[0] };
        self.policy.check(self.store, candidate, repository).await?;
        let config_bytes = self.config(repository, &manifest).await?;
        let config = parse_config(&config_bytes)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "the image has {} layers, its manifest {}",
                    config.rootfs.diff_ids.len(),
                    manifest.layers.len()
                ),
            ));
        }
        Ok(Description { manifest, documents, digests, config_bytes, config })
    }

    async fn config(&self, repository: &Repository, manifest: &Manifest) -> Result<Vec<u8>> {
        let wanted = &manifest.config;
        let inside = manifest.elsewhere.get(&wanted.digest).and_then(|found| found.data.as_ref());
        if let Some(data) = inside.filter(|data| digest_of(data) == wanted.digest) {
            return Ok(data.clone());
        }
        match self.store.blobs().read(&wanted.digest) {
            Ok(Some(known)) => Ok(known),
            // A damaged one is replaced.
            Ok(None) | Err(_) => repository.document(wanted).await,
        }
    }

    /// Refuses an image for another platform than the user asked for, and warns of one for another
    /// than this machine's.
    fn check_platform(&self, offered: &ImageConfig) -> Result<()> {
        let host = Platform::host();
        let wanted = self.platform.unwrap_or(&host);
        let variant = offered.variant.as_deref().filter(|variant| !variant.is_empty());
        if wanted.distance(&offered.os, &offered.architecture, variant).is_some() {
            return Ok(());
        }
        let variant = variant.map_or(String::new(), |variant| format!("/{variant}"));
        let offer = format!("{}/{}{variant}", offered.os, offered.architecture);
        if let Some(platform) = self.platform {
            return Err(Error::new(
                Kind::NotFound,
                format!("the image is for {offer}, not {platform}"),
            ));
        }
        self.progress.update(ProgressEvent::Warning(&format!(
            "the image is for {offer}, this machine is {host}"
        )));
        Ok(())
    }
}
