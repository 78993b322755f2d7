//! Pulls an image from a registry: layers that are missing, at once, each unpacked as it arrives.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::ingest::{Expected, layer};
use super::manifest::{Blob, Document, Manifest, choose};
use super::parallel;
use super::progress::{Progress, ProgressEvent};
use super::record::{Origin, disturbed, parse_config, record};
use super::registry::{Download, RegistryOptions, Repository, deliver};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::{DiffId, Digest};
use crate::spec::image::ImageConfig;
use crate::spec::platform::Platform;
use crate::spec::reference::{BUILTIN_REGISTRY, Reference};
use crate::store::Store;
use crate::store::garbage::Parts;
use crate::store::image::Image;

/// How often layers that others remove under our hands are fetched again.
const ROUNDS: usize = 3;

/// An image as its registry describes it.
struct Description {
    manifest: Manifest,
    /// Bytes of the manifest, and of the index that led to it.
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
    progress.update(ProgressEvent::Trying(reference));
    let context = || format!("cannot pull {reference}");
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context(|| "cannot set up the network")?;
    let repository = Arc::new(Repository::new(reference, options).context(context)?);
    let described =
        runtime.block_on(describe(store, &repository, reference, platform)).context(context)?;
    let host = Platform::host();
    let offered = &described.config;
    if platform
        .unwrap_or(&host)
        .distance(&offered.os, &offered.architecture, offered.variant.as_deref())
        .is_none()
    {
        let offer = format!("{}/{}", offered.os, offered.architecture);
        if let Some(platform) = platform {
            return Err(Error::new(
                Kind::NotFound,
                format!("the image is for {offer}, not {platform}"),
            ))
            .context(context);
        }
        progress.update(ProgressEvent::Warning(&format!(
            "the image is for {offer}, this machine is {host}"
        )));
    }
    progress.update(ProgressEvent::Layers(described.manifest.layers.len()));
    progress.update(ProgressEvent::Config(&described.manifest.config.digest));

    let mut names: Vec<Reference> =
        described.digests.iter().map(|digest| reference.with_digest(digest)).collect();
    if reference.digest().is_none() {
        names.push(reference.clone());
    }
    let _pin = store.pin(&described.parts())?;
    for _ in 0..ROUNDS {
        let missing = missing(store, &described, progress);
        fetch(store, &runtime, &repository, missing, progress).context(context)?;
        progress.update(ProgressEvent::Recording);
        let layers = described.manifest.layers.iter().map(|blob| blob.digest.clone());
        let origin = Origin {
            manifest: described.digests.first().cloned(),
            documents: described.documents.clone(),
            blobs: layers.collect(),
            builtin: None,
        };
        if let Some(image) = record(store, &described.config_bytes, origin, &names)? {
            return Ok(image);
        }
    }
    Err(disturbed()).context(context)
}

/// Asks what the image consists of.
async fn describe(
    store: &Store,
    repository: &Repository,
    reference: &Reference,
    platform: Option<&Platform>,
) -> Result<Description> {
    let (data, digest) = repository.manifest(reference.tag_or_digest()).await?;
    let (mut documents, mut digests) = (vec![data], vec![digest]);
    let manifest = match Document::parse(&documents[0])? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let host = Platform::host();
            let chosen = choose(&index, platform.unwrap_or(&host))?;
            let (data, digest) = repository.manifest(chosen.digest.as_str()).await?;
            let Document::Manifest(manifest) = Document::parse(&data)? else {
                return Err(Error::new(Kind::Invalid, "the image's index leads to another index"));
            };
            documents.insert(0, data);
            digests.insert(0, digest);
            manifest
        }
    };
    let config_bytes = match store.blobs().read(&manifest.config.digest) {
        Ok(Some(known)) => known,
        // A damaged one is replaced.
        Ok(None) | Err(_) => repository.document(&manifest.config).await?,
    };
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

/// Returns the layers that are not here.
fn missing(store: &Store, described: &Description, progress: &dyn Progress) -> Vec<(DiffId, Blob)> {
    let mut known = HashSet::new();
    let mut missing = Vec::new();
    for (diff_id, blob) in described.config.rootfs.diff_ids.iter().zip(&described.manifest.layers) {
        if store.layers().exists(diff_id) {
            progress.update(ProgressEvent::Present(diff_id));
        } else if known.insert(diff_id) {
            missing.push((diff_id.clone(), blob.clone()));
        }
    }
    missing
}

/// Fetches layers: the network in this thread, everything else in others.
fn fetch(
    store: &Store,
    runtime: &Runtime,
    repository: &Arc<Repository>,
    mut missing: Vec<(DiffId, Blob)>,
    progress: &dyn Progress,
) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    // The largest first: they take longest.
    missing.sort_by_key(|(_, blob)| std::cmp::Reverse(blob.size));
    let (orders, incoming) = unbounded_channel();
    let (done, finished) = oneshot::channel::<()>();
    thread::scope(|scope| {
        let work = scope.spawn(move || {
            let done = Mutex::new(Some(done));
            let give_up = || drop(done.lock().unwrap_or_else(PoisonError::into_inner).take());
            let take_in = |(diff_id, blob): &(DiffId, Blob)| {
                let Blob { digest, size } = blob;
                let expected = Expected { blob: Some((digest, *size)), diff_id: Some(diff_id) };
                let mut download = Download::order(&orders, blob);
                let mut shown = 0;
                let received = |done: u64| {
                    // Often enough for a moving bar.
                    if done - shown >= 64 << 10 || done == *size {
                        shown = done;
                        progress.update(ProgressEvent::Layer { digest, done, total: *size });
                    }
                };
                let ingested = match layer(store, &mut download, &expected, received) {
                    Ok(ingested) => ingested,
                    Err(error) => {
                        let error = download.take_failure().unwrap_or(error);
                        return Err(error.within(format!("cannot fetch layer {digest}")));
                    }
                };
                for warning in &ingested.info.warnings {
                    progress.update(ProgressEvent::Warning(warning));
                }
                progress.update(ProgressEvent::LayerDone(digest));
                Ok(ingested)
            };
            parallel::layers(store, &missing, take_in, give_up)
        });
        runtime.block_on(async {
            // After a failure the other downloads are given up, and with them their readers.
            let mut tasks = JoinSet::new();
            tokio::select! {
                () = deliver(Arc::clone(repository), incoming, &mut tasks) => {}
                _ = finished => {}
            }
            tasks.shutdown().await;
        });
        work.join()
            .unwrap_or_else(|_| Err(Error::new(Kind::Internal, "the unpacking thread failed")))
    })
}
