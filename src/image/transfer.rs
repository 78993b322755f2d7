//! Whole blobs between registries and the store, as they are: nothing is unpacked.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::manifest::Blob;
use super::progress::{Progress, ProgressEvent};
use super::registry::{Content, Download, Repository, deliver};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::store::Store;
use crate::store::blob::BlobDraft;

/// Bytes that are copied at a time.
const CHUNK: usize = 256 << 10;
/// Blobs that are fetched at once.
const AT_ONCE: usize = 4;

/// Fetches blobs into drafts: the network in this thread, everything else in others.
pub(super) fn fetch<'a>(
    store: &'a Store,
    runtime: &Runtime,
    repository: &Arc<Repository>,
    blobs: &[Blob],
    progress: &dyn Progress,
) -> Result<Vec<BlobDraft<'a>>> {
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let (orders, incoming) = unbounded_channel();
    let (done, finished) = oneshot::channel::<()>();
    let done = Mutex::new(Some(done));
    let give_up = || drop(done.lock().unwrap_or_else(PoisonError::into_inner).take());
    let next = AtomicUsize::new(0);
    let drafts = Mutex::new(Vec::new());
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        let (next, drafts, failure) = (&next, &drafts, &failure);
        for _ in 0..AT_ONCE.min(blobs.len()) {
            let orders = orders.clone();
            scope.spawn(move || {
                while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut download = Download::order(&orders, blob, 0, &[]);
                    let received = receive(store, &mut download, blob, progress);
                    match received {
                        Ok(draft) => {
                            drafts.lock().unwrap_or_else(PoisonError::into_inner).push(draft);
                        }
                        Err(error) => {
                            let error = download.take_failure().unwrap_or(error);
                            let error = error.within(format!("cannot fetch blob {}", blob.digest));
                            // What follows from the first failure is not of interest.
                            failure
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .get_or_insert(error);
                            next.store(blobs.len(), Ordering::Relaxed);
                            give_up();
                        }
                    }
                }
            });
        }
        drop(orders);
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            tokio::select! {
                () = deliver(Arc::clone(repository), incoming, &mut tasks) => {}
                _ = finished => {}
            }
            tasks.shutdown().await;
        });
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(drafts.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

/// Reads a blob to its end and checks it.
fn receive<'a>(
    store: &'a Store,
    download: &mut Download,
    blob: &Blob,
    progress: &dyn Progress,
) -> Result<BlobDraft<'a>> {
    let Blob { digest, size } = blob;
    let told = |done| progress.update(ProgressEvent::Layer { digest, done, total: *size });
    let draft = copy(store, download, Some(*size), &told)?;
    let (got, got_size) = draft.digest();
    if got != *digest || got_size != *size {
        return Err(Error::new(
            Kind::Invalid,
            format!("it is damaged: {got_size} of {size} bytes came, with digest {got}"),
        ));
    }
    progress.update(ProgressEvent::LayerDone(digest));
    Ok(draft)
}

/// Copies a stream into a draft; `told` is told how many bytes came so far.
pub(super) fn copy<'a>(
    store: &'a Store,
    input: &mut impl Read,
    limit: Option<u64>,
    told: &dyn Fn(u64),
) -> Result<BlobDraft<'a>> {
    let mut draft = store.blobs().begin()?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = match input.read(&mut buffer) {
            Ok(0) => return Ok(draft),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context(|| "cannot read it"),
        };
        draft.write_all(&buffer[..length]).context(|| "cannot write it to the store")?;
        let size = draft.size();
        if limit.is_some_and(|limit| size > limit) {
            return Err(Error::new(Kind::Invalid, "it is larger than the manifest says"));
        }
        told(size);
    }
}

/// A blob that a registry must have.
#[derive(Debug)]
pub(super) struct Upload {
    /// Digest and size.
    pub(super) blob: Blob,
    /// Its bytes.
    pub(super) file: File,
    /// Another repository of the registry that may have it.
    pub(super) from: Option<String>,
}

/// What happens to a blob, on its way from its task to who listens.
enum Happened {
    Present(Digest),
    Sent { blob: Blob, done: u64 },
    Done(Digest),
}

/// Sees to it that a registry has blobs, several at once.
pub(super) async fn upload(
    repository: &Arc<Repository>,
    uploads: Vec<Upload>,
    progress: &dyn Progress,
) -> Result<()> {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let (tell, mut told) = unbounded_channel();
    // Dropping it ends all tasks.
    let mut tasks = JoinSet::new();
    for upload in uploads {
        let (repository, slots, tell) = (Arc::clone(repository), Arc::clone(&slots), tell.clone());
        tasks.spawn(async move {
            // Never closed.
            let _slot = slots.acquire().await;
            let digest = upload.blob.digest.clone();
            send(&repository, upload, &tell)
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

async fn send(
    repository: &Repository,
    upload: Upload,
    tell: &UnboundedSender<Happened>,
) -> Result<()> {
    // Nobody listens any more only when all has failed.
    let tell = |happened| drop(tell.send(happened));
    let Upload { blob, file, from } = upload;
    if repository.has_blob(&blob.digest).await? {
        tell(Happened::Present(blob.digest));
        return Ok(());
    }
    let content = Content::whole(file, &blob);
    let sent = |done| tell(Happened::Sent { blob: blob.clone(), done });
    repository.upload_blob(&content, from.as_deref(), &sent).await?;
    tell(Happened::Done(blob.digest));
    Ok(())
}

fn pass_on(happened: &Happened, progress: &dyn Progress) {
    progress.update(match happened {
        Happened::Present(digest) => ProgressEvent::Skipped(digest),
        Happened::Sent { blob, done } => {
            ProgressEvent::Layer { digest: &blob.digest, done: *done, total: blob.size }
        }
        Happened::Done(digest) => ProgressEvent::LayerDone(digest),
    });
}
