//! Pushes an image to a registry: what it does not have yet, several layers at once.
//!
//! An image that came from a registry goes back byte for byte. Layers that the registry has, in this
//! repository or in another one that the store knows of, are not sent.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::manifest::{Blob, Document, Manifest};
use super::policy::{Signer, SigningOptions};
use super::progress::{Progress, ProgressEvent};
use super::registry::{self, Content, RegistryOptions, Repository};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::image::Image;

/// Blobs that are uploaded at once.
const AT_ONCE: usize = 6;
/// Other repositories that a token is asked for, to take blobs over from.
const MAX_SOURCES: usize = 8;

/// How an image is pushed.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// How to talk to the registry.
    pub registry: RegistryOptions,
    /// How it is signed.
    pub signing: SigningOptions,
}

/// What a push made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Bytes of the manifest.
    pub size: u64,
}

/// A blob that the registry must have.
struct Job {
    blob: Blob,
    is_config: bool,
    /// Another repository of the registry that may have it.
    from: Option<String>,
}

/// What happens to a blob, on its way from its task to who listens.
enum Happened {
    Present(Digest),
    Sent { blob: Blob, done: u64 },
    Done(Digest),
    Config(Digest),
}

/// Pushes an image under a name.
pub fn push(
    store: &Store,
    image: &Image,
    to: &Reference,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let context = || format!("cannot push to {to}");
    // A key that cannot be used is noticed before anything is sent.
    let signer = Signer::load(&options.signing).context(context)?;
    let (data, manifest, media_type) = original(store, image).context(context)?;
    progress.update(ProgressEvent::Layers(manifest.layers.len()));
    let mut jobs = Vec::new();
    let mut known = BTreeSet::new();
    let layers = manifest.layers.iter().map(|blob| (blob, false));
    for (blob, is_config) in layers.chain([(&manifest.config, true)]) {
        if known.insert(blob.digest.clone()) {
            jobs.push(Job { blob: blob.clone(), is_config, from: None });
        }
    }
    let sources = sources(store, to, &mut jobs)?;
    let runtime = registry::runtime()?;
    let repository =
        Arc::new(Repository::for_push(to, &options.registry, &sources).context(context)?);
    runtime.block_on(async {
        send(store, &repository, jobs, progress).await.context(context)?;
        progress.update(ProgressEvent::Recording);
        let accepted = repository.put_manifest(to.tag_or_digest(), &media_type, &data).await;
        let digest = accepted.context(context)?.digest;
        signer.sign(&repository, to, &digest).await.context(context)?;
        Ok(Pushed { digest, size: data.len() as u64 })
    })
}

/// Returns the manifest that an image came with, byte for byte.
fn original(store: &Store, image: &Image) -> Result<(Vec<u8>, Manifest, String)> {
    let missing = || {
        Error::new(Kind::Unsupported, "the image has no manifest")
            .hint("images from registries and OCI archives have one")
    };
    let digest = image.manifest_digest.as_ref().ok_or_else(missing)?;
    let data = store.blobs().read(digest)?.ok_or_else(missing)?;
    let Document::Manifest(manifest) = Document::parse(&data)? else { return Err(missing()) };
    let media_type = media_type(&data)?;
    Ok((data, manifest, media_type))
}

/// Returns the media type of a manifest, which old ones of OCI do not say.
fn media_type(data: &[u8]) -> Result<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Said {
        media_type: Option<String>,
    }
    let said: Said = serde_json::from_slice(data).context(|| "the manifest is malformed")?;
    let default = || "application/vnd.oci.image.manifest.v1+json".to_owned();
    Ok(said.media_type.filter(|said| !said.is_empty()).unwrap_or_else(default))
}

/// Finds other repositories of the registry that should have the blobs, and notes them.
fn sources(store: &Store, to: &Reference, jobs: &mut [Job]) -> Result<Vec<String>> {
    let mut holders: HashMap<Digest, String> = HashMap::new();
    for named in store.images().list()? {
        let names = named.digests.iter().chain(&named.names);
        let other =
            |name: &&Reference| name.registry() == to.registry() && name.path() != to.path();
        if let Some(name) = names.clone().find(other) {
            for blob in named.image.blobs {
                holders.entry(blob).or_insert_with(|| name.path().to_owned());
            }
        }
    }
    let mut sources: Vec<String> = Vec::new();
    for job in jobs {
        let Some(holder) = holders.get(&job.blob.digest) else { continue };
        if !sources.contains(holder) {
            if sources.len() == MAX_SOURCES {
                continue;
            }
            sources.push(holder.clone());
        }
        job.from = Some(holder.clone());
    }
    Ok(sources)
}

/// Sees to it that the registry has all blobs.
async fn send(
    store: &Store,
    repository: &Arc<Repository>,
    jobs: Vec<Job>,
    progress: &dyn Progress,
) -> Result<()> {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let (tell, mut told) = unbounded_channel();
    // Dropping it ends all tasks.
    let mut tasks = JoinSet::new();
    for job in jobs {
        let (store, repository) = (store.clone(), Arc::clone(repository));
        let (slots, tell) = (Arc::clone(&slots), tell.clone());
        tasks.spawn(async move {
            // Never closed.
            let _slot = slots.acquire().await;
            let digest = job.blob.digest.clone();
            one(&store, &repository, job, &tell)
                .await
                .context(|| format!("cannot upload blob {digest}"))
        });
    }
    drop(tell);
    loop {
        tokio::select! {
            biased;
            Some(happened) = told.recv() => pass_on(&happened, progress),
            done = tasks.join_next() => match done {
                Some(Ok(done)) => done?,
                Some(Err(error)) => {
                    return Err(Error::new(Kind::Internal, "an upload failed").caused_by(error));
                }
                None => return Ok(()),
            },
        }
    }
}

async fn one(
    store: &Store,
    repository: &Repository,
    job: Job,
    tell: &UnboundedSender<Happened>,
) -> Result<()> {
    // Nobody listens any more only when all has failed.
    let tell = |happened| drop(tell.send(happened));
    let Job { blob, is_config, from } = job;
    if repository.has_blob(&blob.digest).await? {
        tell(Happened::Present(blob.digest));
        return Ok(());
    }
    let file = store.blobs().open(&blob.digest)?.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("blob {} is missing", blob.digest))
            .hint("pull the image again")
    })?;
    let content = Content::whole(file, &blob);
    let sent = |done| {
        if !is_config {
            tell(Happened::Sent { blob: blob.clone(), done });
        }
    };
    repository.upload_blob(&content, from.as_deref(), &sent).await?;
    tell(if is_config { Happened::Config(blob.digest) } else { Happened::Done(blob.digest) });
    Ok(())
}

fn pass_on(happened: &Happened, progress: &dyn Progress) {
    progress.update(match happened {
        Happened::Present(digest) => ProgressEvent::Skipped(digest),
        Happened::Sent { blob, done } => {
            ProgressEvent::Layer { digest: &blob.digest, done: *done, total: blob.size }
        }
        Happened::Done(digest) => ProgressEvent::LayerDone(digest),
        Happened::Config(digest) => ProgressEvent::Config(digest),
    });
}
