//! Pushes an image to a registry: what it does not have yet, several layers at once.
//!
//! An image that came from a registry goes back byte for byte. Layers that the registry has, in this
//! repository or in another one that the store knows of, are not sent. Layers without a compressed blob
//! are compressed into a temporary file, which is uploaded while it grows; what came out is remembered,
//! so that the next push asks for it first.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::{Arc, mpsc};
use std::thread;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::manifest::Blob;
use super::outgoing::{Form, Original, Outgoing, Part, Ready};
use super::pack::pack;
use super::policy::{Signer, SigningOptions};
use super::progress::{Progress, ProgressEvent};
use super::registry::{self, Content, Growing, RegistryOptions, Repository};
use super::stream::TarStream;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::compression::Compression;
use crate::spec::digest::{DiffId, Digest};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::blob::digest_of;
use crate::store::draft::Draft;
use crate::store::garbage::Parts;
use crate::store::image::Image;
use crate::store::packed::Packed;

/// Blobs that are uploaded at once.
const AT_ONCE: usize = 6;
/// Other repositories that a token is asked for, to take blobs over from.
const MAX_SOURCES: usize = 8;

/// How an image is pushed.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// How to talk to the registry.
    pub registry: RegistryOptions,
    /// What it is sent as.
    pub form: Form,
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
enum Job {
    /// One that is here.
    Blob { blob: Blob, is_config: bool, from: Option<String> },
    /// One that the registry should have: what it may be, the likeliest first.
    Layer { id: DiffId, known: Vec<Packed>, compression: Compression, level: i32 },
}

/// A layer that is to be compressed.
struct Order {
    id: DiffId,
    compression: Compression,
    level: i32,
    draft: Arc<Draft>,
    growing: Growing,
    done: oneshot::Sender<Result<Packed>>,
}

/// What happens to a blob, on its way from its task to who listens.
enum Happened {
    Present(Digest),
    Sent { digest: Digest, done: u64, total: u64 },
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
    run(store, image, to, Some(to.tag_or_digest()), options, progress)
        .context(|| format!("cannot push to {to}"))
}

/// Pushes an image that is to be a member of a list: under no name but its manifest's digest.
pub(crate) fn push_member(
    store: &Store,
    image: &Image,
    to: &Reference,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    run(store, image, to, None, options, progress)
}

fn run(
    store: &Store,
    image: &Image,
    to: &Reference,
    name: Option<&str>,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    // A key that cannot be used is noticed before anything is sent.
    let signer = Signer::load(&options.signing)?;
    store.gc_tmp()?;
    let mut parts = Parts::default();
    parts.add_image(image);
    let _pin = store.pin(&parts)?;
    let outgoing = Outgoing::of(store, image, &options.form)?;
    let sources = sources(store, image, to)?;
    let mut paths: Vec<String> = sources.values().cloned().collect();
    paths.sort();
    paths.dedup();
    paths.truncate(MAX_SOURCES);
    let repository = Arc::new(Repository::for_push(to, &options.registry, &paths)?);
    let push = Push { store, repository, sources, progress };
    let (orders, incoming) = mpsc::channel();
    thread::scope(|scope| {
        // Ends when nobody can order any more: at the latest with the runtime, which has all tasks.
        scope.spawn(move || incoming.iter().for_each(|order| compress(store, order)));
        let runtime = registry::runtime()?;
        runtime.block_on(async {
            let pushed = push.image(outgoing, name, orders).await?;
            signer.sign(&push.repository, to, &pushed.digest).await?;
            Ok(pushed)
        })
    })
}

/// A push under way.
struct Push<'a> {
    store: &'a Store,
    repository: Arc<Repository>,
    /// Blobs that other repositories of the registry should have.
    sources: HashMap<Digest, String>,
    progress: &'a dyn Progress,
}

impl Push<'_> {
    async fn image(
        &self,
        mut outgoing: Outgoing,
        name: Option<&str>,
        orders: mpsc::Sender<Order>,
    ) -> Result<Pushed> {
        self.progress.update(ProgressEvent::Layers(outgoing.parts.len()));
        let complete = match outgoing.take_complete(self.store) {
            Some(original) => Some(original),
            None => self.known_there(&mut outgoing).await?,
        };
        let mut jobs: Vec<Job> = Vec::new();
        match &complete {
            Some(original) => {
                for (index, (blob, part)) in original.layers(&outgoing.parts).enumerate() {
                    // A registry gets its address only.
                    if original.is_foreign(index) {
                        continue;
                    }
                    jobs.push(if part.is_plain(blob) {
                        layer(part, &outgoing, Compression::None)
                    } else {
                        self.blob(blob, false)
                    });
                }
            }
            None => {
                let compression = outgoing.compression().0;
                for part in &outgoing.parts {
                    jobs.push(match part.kept(self.store) {
                        Some(Packed { digest, size, .. }) => {
                            self.blob(&Blob { digest: digest.clone(), size: *size }, false)
                        }
                        None => layer(part, &outgoing, compression),
                    });
                }
            }
        }
        jobs.push(self.blob(outgoing.config_blob(), true));
        let made = self.send(jobs, orders).await?;
        let Ready { data, media_type } = match complete {
            Some(original) => original.ready(),
            None => {
                let layers = outgoing.parts.iter().map(|part| {
                    let kept = part.kept(self.store).or_else(|| made.get(&part.id));
                    kept.cloned().ok_or_else(|| {
                        Error::new(Kind::NotFound, format!("layer {} is missing", part.id))
                    })
                });
                outgoing.manifest(&layers.collect::<Result<Vec<_>>>()?)?
            }
        };
        self.progress.update(ProgressEvent::Recording);
        let digest = digest_of(&data);
        let name = name.unwrap_or(digest.as_str());
        let accepted = self.repository.put_manifest(name, media_type, &data).await?;
        Ok(Pushed { digest: accepted.digest, size: data.len() as u64 })
    }

    fn blob(&self, blob: &Blob, is_config: bool) -> Job {
        let from = self.sources.get(&blob.digest).cloned();
        Job::Blob { blob: blob.clone(), is_config, from }
    }

    /// Takes the manifest that an image came with if the registry has what is not here.
    async fn known_there(&self, outgoing: &mut Outgoing) -> Result<Option<Original>> {
        let Some(original) = outgoing.originals.first() else { return Ok(None) };
        for (blob, part) in original.layers(&outgoing.parts) {
            let is_here = part.is_plain(blob) || self.store.blobs().exists(&blob.digest);
            if !is_here && !self.repository.has_blob(&blob.digest).await? {
                return Ok(None);
            }
        }
        Ok(Some(outgoing.originals.swap_remove(0)))
    }

    /// Sees to it that the registry has all blobs; returns what layers were compressed to.
    async fn send(
        &self,
        jobs: Vec<Job>,
        orders: mpsc::Sender<Order>,
    ) -> Result<BTreeMap<DiffId, Packed>> {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let (tell, mut told) = unbounded_channel();
        // Dropping it ends all tasks.
        let mut tasks = JoinSet::new();
        let mut begun = std::collections::HashSet::new();
        for job in jobs {
            if !begun.insert(job.digest().clone()) {
                continue;
            }
            let uploader = Uploader {
                store: self.store.clone(),
                repository: Arc::clone(&self.repository),
                orders: orders.clone(),
                tell: tell.clone(),
            };
            let slots = Arc::clone(&slots);
            tasks.spawn(async move {
                // Never closed.
                let _slot = slots.acquire().await;
                let digest = job.digest().clone();
                uploader.work(job).await.context(|| format!("cannot upload {digest}"))
            });
        }
        drop((tell, orders));
        let mut made = BTreeMap::new();
        loop {
            tokio::select! {
                biased;
                Some(happened) = told.recv() => pass_on(&happened, self.progress),
                done = tasks.join_next() => match done {
                    Some(Ok(done)) => made.extend(done?),
                    Some(Err(error)) => {
                        return Err(Error::new(Kind::Internal, "an upload failed").caused_by(error));
                    }
                    None => return Ok(made),
                },
            }
        }
    }
}

fn layer(part: &Part, outgoing: &Outgoing, compression: Compression) -> Job {
    let (wanted, level) = outgoing.compression();
    let level = if compression == wanted { level } else { compression.default_level() };
    // The tar stream itself is nothing to send unless it is asked for.
    let plain = compression == Compression::None;
    let known =
        part.packed.iter().filter(|packed| (packed.compression == Compression::None) == plain);
    Job::Layer { id: part.id.clone(), known: known.cloned().collect(), compression, level }
}

impl Job {
    /// Returns what it is called.
    fn digest(&self) -> &Digest {
        match self {
            Self::Blob { blob, .. } => &blob.digest,
            Self::Layer { id, .. } => &id.0,
        }
    }
}

/// Finds blobs of an image that other repositories of the registry should have.
fn sources(store: &Store, image: &Image, to: &Reference) -> Result<HashMap<Digest, String>> {
    let mut sources = HashMap::new();
    for named in store.images().list()? {
        let is_other =
            |name: &&Reference| name.registry() == to.registry() && name.path() != to.path();
        if let Some(name) = named.digests.iter().chain(&named.names).find(is_other) {
            for blob in named.image.blobs.iter().filter(|blob| image.blobs.contains(blob)) {
                sources.entry(blob.clone()).or_insert_with(|| name.path().to_owned());
            }
        }
    }
    Ok(sources)
}

/// What the task of one blob needs.
struct Uploader {
    store: Store,
    repository: Arc<Repository>,
    orders: mpsc::Sender<Order>,
    tell: UnboundedSender<Happened>,
}

impl Uploader {
    /// Nobody listens any more only when all has failed.
    fn tell(&self, happened: Happened) {
        drop(self.tell.send(happened));
    }

    async fn work(self, job: Job) -> Result<Option<(DiffId, Packed)>> {
        match job {
            Job::Blob { blob, is_config, from } => {
                self.blob(&blob, is_config, from).await.map(|()| None)
            }
            Job::Layer { id, known, compression, level } => {
                for packed in known {
                    if self.repository.has_blob(&packed.digest).await? {
                        self.tell(Happened::Present(packed.digest.clone()));
                        return Ok(Some((id, packed)));
                    }
                }
                let packed = self.layer(&id, compression, level).await?;
                Ok(Some((id, packed)))
            }
        }
    }

    async fn blob(&self, blob: &Blob, is_config: bool, from: Option<String>) -> Result<()> {
        let digest = &blob.digest;
        if self.repository.has_blob(digest).await? {
            self.tell(Happened::Present(digest.clone()));
            return Ok(());
        }
        let file = self.store.blobs().open(digest)?.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("blob {digest} is missing"))
                .hint("pull the image again")
        })?;
        let content = Content::whole(file, blob);
        let sent = |done| {
            if !is_config {
                self.tell(Happened::Sent { digest: digest.clone(), done, total: blob.size });
            }
        };
        self.repository.upload_blob(&content, from.as_deref(), &sent).await?;
        let digest = digest.clone();
        self.tell(if is_config { Happened::Config(digest) } else { Happened::Done(digest) });
        Ok(())
    }

    /// Compresses a layer and uploads it meanwhile.
    async fn layer(&self, id: &DiffId, compression: Compression, level: i32) -> Result<Packed> {
        let draft = Arc::new(self.store.draft_file()?);
        let file = draft.file().try_clone();
        let (growing, content) = Content::growing(file.context(|| "cannot open a temporary file")?);
        let (done, mut packed) = oneshot::channel();
        let order = Order { id: id.clone(), compression, level, draft, growing, done };
        // If nobody compresses any more, the upload fails.
        drop(self.orders.send(order));
        let sent = |done| {
            self.tell(Happened::Sent { digest: id.0.clone(), done, total: 0 });
        };
        let uploaded = self.repository.upload_blob(&content, None, &sent).await;
        match (uploaded, packed.try_recv()) {
            // Why there was nothing to upload counts more.
            (_, Ok(Err(error))) | (Err(error), _) => Err(error),
            (Ok(_), Ok(Ok(packed))) => {
                self.tell(Happened::Done(id.0.clone()));
                Ok(packed)
            }
            (Ok(_), Err(error)) => {
                Err(Error::new(Kind::Internal, "the compressing thread failed").caused_by(error))
            }
        }
    }
}

/// Compresses a layer for an upload.
fn compress(store: &Store, order: Order) {
    let Order { id, compression, level, draft, growing, done } = order;
    let packed = compress_into(store, &id, compression, level, &draft, &growing);
    let blob = packed
        .as_ref()
        .ok()
        .map(|packed| Blob { digest: packed.digest.clone(), size: packed.size });
    // Before the upload learns that it is complete or given up. Who has left needs neither.
    drop(done.send(packed));
    if let Some(blob) = blob {
        growing.whole(&blob);
    }
}

fn compress_into(
    store: &Store,
    id: &DiffId,
    compression: Compression,
    level: i32,
    draft: &Draft,
    growing: &Growing,
) -> Result<Packed> {
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut input = TarStream::open(store, id)?;
    pack(&mut input, compression, level, |piece| {
        if growing.is_given_up() {
            return Err(Error::new(Kind::Unavailable, "the upload was given up"));
        }
        draft
            .file()
            .write_all(piece)
            .context(|| format!("cannot write {}", draft.path().display()))?;
        hash.update(piece);
        size += piece.len() as u64;
        growing.grown(size);
        Ok(())
    })
    .context(|| format!("cannot compress layer {id}"))?;
    let digest = Digest::from_sha256(&hash.finalize().into());
    let packed = Packed { digest, size, compression, level: Some(level) };
    // The tar stream itself is known by its name.
    if compression != Compression::None {
        store.remember_packed(id, &packed)?;
    }
    Ok(packed)
}

fn pass_on(happened: &Happened, progress: &dyn Progress) {
    progress.update(match happened {
        Happened::Present(digest) => ProgressEvent::Skipped(digest),
        Happened::Sent { digest, done, total } => {
            ProgressEvent::Layer { digest, done: *done, total: *total }
        }
        Happened::Done(digest) => ProgressEvent::LayerDone(digest),
        Happened::Config(digest) => ProgressEvent::Config(digest),
    });
}
