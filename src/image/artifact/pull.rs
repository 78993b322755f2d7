//! An artifact from a registry.

use std::sync::Arc;

use crate::error::{Context, Error, Kind, Result};
use crate::image::manifest::Blob;
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::registry::{self, RegistryOptions, Repository};
use crate::image::transfer;
use crate::spec::oci::Manifest;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::artifact::Artifact;

/// Pulls an artifact; also returns what its name led to before.
pub fn pull(
    store: &Store,
    name: &Reference,
    options: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<(Artifact, Option<Artifact>)> {
    let context = || format!("cannot pull artifact {name}");
    store.gc_tmp()?;
    progress.update(ProgressEvent::Trying(name));
    let runtime = registry::runtime()?;
    let repository = Arc::new(Repository::new(name, options).context(context)?);
    let (document, digest) =
        runtime.block_on(repository.manifest(name.tag_or_digest())).context(context)?;
    let manifest = parse(&document).context(context)?;
    progress.update(ProgressEvent::Layers(manifest.layers.len()));

    let mut missing: Vec<Blob> = Vec::new();
    for blob in manifest.blobs() {
        if store.blobs().exists(&blob.digest) {
            progress.update(ProgressEvent::Skipped(&blob.digest));
        } else if !missing.iter().any(|known| known.digest == blob.digest) {
            missing.push(Blob { digest: blob.digest.clone(), size: blob.size });
        }
    }
    let drafts =
        transfer::fetch(store, &runtime, &repository, &missing, progress).context(context)?;
    progress.update(ProgressEvent::Recording);
    let finished = drafts
        .into_iter()
        .map(|draft| {
            let (digest, _) = draft.digest();
            draft.finish(&digest)
        })
        .collect();
    let kept = store.shared()?;
    store.publish(finished)?;
    store.blobs().write(&document)?;
    let mut blobs: Vec<_> = manifest.blobs().map(|blob| blob.digest.clone()).collect();
    blobs.push(digest.clone());
    let artifact = Artifact { name: name.clone(), digest, blobs };
    store.artifacts().update(name, |_| Ok(artifact), &kept)
}

fn parse(document: &[u8]) -> Result<Manifest> {
    let value: serde_json::Value =
        serde_json::from_slice(document).context(|| "the manifest is malformed")?;
    if value.get("manifests").is_some() {
        return Err(Error::new(Kind::Unsupported, "it is a list of several manifests")
            .hint("pull one of them by its digest; `barge manifest inspect` shows them"));
    }
    serde_json::from_slice(document).context(|| "the manifest is malformed")
}
