//! An artifact to a registry, byte for byte.
//!
//! What an artifact is about, its subject, can be asked for its referrers. A registry that does not
//! know of that gets a list of them under a tag made of the subject's digest, as the distribution
//! specification 1.1 wants it.

use std::sync::Arc;

use crate::error::{Context, Error, Kind, Result};
use crate::image::manifest::Blob;
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::registry::{self, RegistryOptions, Repository};
use crate::image::transfer::{self, Upload};
use crate::spec::digest::Digest;
use crate::spec::oci::{Descriptor, Index, Manifest, OCI_INDEX, OCI_MANIFEST};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::artifact::Artifact;

/// Pushes an artifact under a name; returns the digest of its manifest.
pub fn push(
    store: &Store,
    artifact: &Artifact,
    to: &Reference,
    options: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<Digest> {
    let context = || format!("cannot push artifact {} to {to}", artifact.name);
    let (manifest, document) = store.artifacts().manifest(artifact)?;
    let mut uploads: Vec<Upload> = Vec::new();
    for blob in manifest.blobs() {
        if uploads.iter().any(|known| known.blob.digest == blob.digest) {
            continue;
        }
        let missing = || {
            Error::new(Kind::NotFound, format!("blob {} is missing", blob.digest))
                .hint("add or pull the artifact again")
        };
        let file = store.blobs().open(&blob.digest)?.ok_or_else(missing).context(context)?;
        let blob = Blob { digest: blob.digest.clone(), size: blob.size };
        uploads.push(Upload { blob, file, from: None });
    }
    let repository = Arc::new(Repository::for_push(to, options, &[]).context(context)?);
    let run = async {
        transfer::upload(&repository, uploads, progress).await?;
        progress.update(ProgressEvent::Recording);
        let kind = media_type(&manifest);
        let accepted = repository.put_manifest(to.tag_or_digest(), kind, &document).await?;
        if !accepted.lists_referrers {
            refer(&repository, &manifest, &accepted.digest, document.len() as u64).await?;
        }
        Ok::<_, Error>(accepted.digest)
    };
    registry::runtime()?.block_on(run).context(context)
}

fn media_type(manifest: &Manifest) -> &str {
    if manifest.media_type.is_empty() { OCI_MANIFEST } else { &manifest.media_type }
}

/// Returns what a list of referrers says of an artifact.
fn describe(manifest: &Manifest, digest: &Digest, size: u64) -> Descriptor {
    Descriptor {
        annotations: manifest.annotations.clone(),
        artifact_type: Some(manifest.kind().to_owned()),
        ..Descriptor::new(media_type(manifest), digest.clone(), size)
    }
}

/// Adds an artifact that is about something to the list that the registry has under a tag.
pub(in crate::image) async fn refer(
    repository: &Repository,
    manifest: &Manifest,
    digest: &Digest,
    size: u64,
) -> Result<()> {
    let Some(subject) = &manifest.subject else { return Ok(()) };
    let tag = subject.digest.as_str().replace(':', "-");
    let context = || format!("cannot add it to the referrers of {}", subject.digest);
    let mut index = match repository.manifest(&tag).await {
        Ok((document, _)) => serde_json::from_slice(&document).context(context)?,
        Err(error) if error.kind() == Kind::NotFound => Index::default(),
        Err(error) => return Err(error).context(context),
    };
    if index.manifests.iter().any(|known| known.digest == *digest) {
        return Ok(());
    }
    index.manifests.push(describe(manifest, digest, size));
    let document = serde_json::to_vec(&index).context(context)?;
    repository.put_manifest(&tag, OCI_INDEX, &document).await.context(context).map(drop)
}
