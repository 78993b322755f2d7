//! An artifact from a registry.

use crate::error::{Context, Error, Kind, Result};
use crate::image::policy::{Candidate, Policy};
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::registry::{self, RegistryOptions};
use crate::image::transfer::{self, Purpose, Wanted};
use crate::spec::oci::Manifest;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::artifact::Artifact;
use crate::store::blob::BlobDraft;

/// Pulls an artifact; also returns what its name led to before.
pub fn pull(
    store: &Store,
    name: &Reference,
    options: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<(Artifact, Option<Artifact>)> {
    store.gc_tmp()?;
    store.remove_old_partials()?;
    progress.update(ProgressEvent::Trying(name));
    let context = || format!("cannot pull artifact {name}");
    let policy = Policy::load(options.signature_policy.as_deref()).context(context)?;
    let runtime = registry::runtime()?;
    transfer::at_places(name, options, |repository, place| {
        let (document, digest) = runtime.block_on(repository.manifest(place.tag_or_digest()))?;
        let manifest = parse(&document)?;
        let candidate = Candidate { name, at: place, manifest: &document };
        runtime.block_on(policy.check(store, candidate, repository))?;
        progress.update(ProgressEvent::Layers(manifest.layers.len()));
        let missing = missing(store, &manifest, progress);
        let drafts =
            transfer::fetch(store, &runtime, repository, &missing, Purpose::Keep, progress)?;
        progress.update(ProgressEvent::Recording);
        let finish = |draft: BlobDraft<'_>| {
            let (digest, _) = draft.digest();
            draft.finish(&digest)
        };
        let finished = drafts.into_iter().map(finish).collect();
        let kept = store.shared()?;
        store.publish(finished)?;
        store.blobs().write(&document)?;
        let mut blobs: Vec<_> = manifest.blobs().map(|blob| blob.digest.clone()).collect();
        blobs.push(digest.clone());
        let artifact = Artifact { name: name.clone(), digest, blobs };
        store.artifacts().update(name, |_| Ok(artifact), &kept)
    })
    .context(context)
}

/// Returns the blobs that are not here.
fn missing(store: &Store, manifest: &Manifest, progress: &dyn Progress) -> Vec<Wanted> {
    let mut missing: Vec<Wanted> = Vec::new();
    for blob in manifest.blobs() {
        if store.blobs().exists(&blob.digest) {
            progress.update(ProgressEvent::Skipped(&blob.digest));
        } else if !missing.iter().any(|known| known.blob.digest == blob.digest) {
            missing.push(Wanted::of(blob));
        }
    }
    missing
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
