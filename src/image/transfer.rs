//! Whole blobs between registries and the store, as they are: nothing is unpacked.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::manifest::Blob;
use super::progress::{Progress, ProgressEvent};
use super::registry::{Content, Download, Order, RegistryOptions, Repository, deliver};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::spec::oci::Descriptor;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::blob::BlobDraft;
use crate::store::registries;

/// Bytes that are copied at a time.
const CHUNK: usize = 256 << 10;
/// Blobs that are fetched at once.
const AT_ONCE: usize = 4;

/// Does something at the first place of a reference where it can be done: mirrors, then the registry.
pub(super) fn at_places<T>(
    reference: &Reference,
    options: &RegistryOptions,
    work: impl Fn(&Arc<Repository>, &Reference) -> Result<T>,
) -> Result<T> {
    let mut failure = None;
    for place in registries::read()?.places(reference)? {
        let repository = Arc::new(Repository::at(&place, options)?);
        match work(&repository, &place.reference) {
            Err(error) if !error.is_full_disk() => failure = Some(error),
            result => return result,
        }
    }
    // There is always at least one place; the last one is the registry itself.
    Err(failure.unwrap_or_else(|| Error::new(Kind::Internal, "nobody was asked")))
}

/// A blob that is wanted from a registry.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Digest and size.
    pub(super) blob: Blob,
    /// Where else it may be.
    pub(super) addresses: Vec<String>,
}

impl Wanted {
    /// Wants what a manifest speaks of.
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        let Descriptor { digest, size, urls, .. } = descriptor;
        Self { blob: Blob { digest: digest.clone(), size: *size }, addresses: urls.clone() }
    }
}

/// What becomes of blobs that are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// They stay here. If they do not come whole, the next try goes on from there.
    Keep,
    /// They are passed on.
    PassOn,
}

/// Fetches blobs into drafts: the network in this thread, everything else in others.
pub(super) fn fetch<'a>(
    store: &'a Store,
    runtime: &Runtime,
    repository: &Arc<Repository>,
    wanted: &[Wanted],
    purpose: Purpose,
    progress: &dyn Progress,
) -> Result<Vec<BlobDraft<'a>>> {
    let (orders, incoming) = unbounded_channel();
    let (done, finished) = oneshot::channel::<()>();
    let done = Mutex::new(Some(done));
    let give_up = || drop(locked(&done).take());
    let next = AtomicUsize::new(0);
    let drafts = Mutex::new(Vec::new());
    let failure = Mutex::new(None);
    let work = |orders: UnboundedSender<Order>| {
        while let Some(wanted) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            match receive(store, &orders, wanted, purpose, progress) {
                Ok(draft) => locked(&drafts).push(draft),
                Err(error) => {
                    let digest = &wanted.blob.digest;
                    let error = error.within(format!("cannot fetch blob {digest}"));
                    // What follows from the first failure is not of interest.
                    locked(&failure).get_or_insert(error);
                    next.store(usize::MAX / 2, Ordering::Relaxed);
                    give_up();
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(wanted.len()) {
            let (orders, work) = (orders.clone(), &work);
            scope.spawn(move || work(orders));
        }
        drop(orders);
        runtime.block_on(async {
            // After a failure the other downloads are given up, and with them their readers.
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Receives a blob, or what is missing of an earlier download.
fn receive<'a>(
    store: &'a Store,
    orders: &UnboundedSender<Order>,
    wanted: &Wanted,
    purpose: Purpose,
    progress: &dyn Progress,
) -> Result<BlobDraft<'a>> {
    let partial = match purpose {
        // One that somebody else is at is fetched once more.
        Purpose::Keep => store.try_partial(&wanted.blob.digest)?,
        Purpose::PassOn => None,
    };
    let Some(partial) = partial else {
        let mut download = Download::order(orders, &wanted.blob, 0, &wanted.addresses);
        let draft = store.blobs().begin()?;
        return copied(
            copy(&mut download, draft, wanted, progress),
            &mut download,
            wanted,
            progress,
        );
    };
    if partial.length()? > wanted.blob.size {
        partial.discard()?;
    }
    loop {
        let offset = partial.length()?;
        let mut rest = Download::order(orders, &wanted.blob, offset, &wanted.addresses);
        let mut whole = partial.reader()?.take(offset).chain(&mut rest);
        let copying = copy(&mut whole, partial.draft(store)?, wanted, progress);
        match copied(copying, &mut rest, wanted, progress) {
            Err(error) if error.kind() == Kind::Invalid => {
                partial.discard()?;
                // Its beginning may be what is wrong: nobody has looked at it since it was written.
                if offset == 0 {
                    return Err(error);
                }
            }
            result => return result,
        }
    }
}

fn copy<'a>(
    input: &mut impl Read,
    draft: BlobDraft<'a>,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<BlobDraft<'a>> {
    let Blob { digest, size } = &wanted.blob;
    let told = |done| progress.update(ProgressEvent::Layer { digest, done, total: *size });
    write(input, draft, Some(*size), &told)
}

/// Checks what has come; the reason why the network failed comes before what followed from it.
fn copied<'a>(
    copying: Result<BlobDraft<'a>>,
    download: &mut Download,
    wanted: &Wanted,
    progress: &dyn Progress,
) -> Result<BlobDraft<'a>> {
    let draft = copying.map_err(|error| download.take_failure().unwrap_or(error))?;
    let Blob { digest, size } = &wanted.blob;
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
pub(super) fn write<'a>(
    input: &mut (impl Read + ?Sized),
    mut draft: BlobDraft<'a>,
    limit: Option<u64>,
    told: &dyn Fn(u64),
) -> Result<BlobDraft<'a>> {
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
