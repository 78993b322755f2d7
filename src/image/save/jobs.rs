//! Layers on their way into files: several at once, as each has its place.

use std::fs::File;
use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::members::{Place, Room};
use super::{Saver, missing, told};
use crate::error::Result;
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::stream::TarStream;
use crate::spec::digest::{DiffId, Digest};
use crate::store::Store;
use crate::store::draft::Draft;

/// Where the bytes of a layer come from.
pub(super) enum Source {
    /// From its tar stream.
    Layer(DiffId),
    /// From a blob that is here.
    Blob(Digest),
    /// From a file that was made for it, whose name in the end is this digest.
    Temporary(Draft, Digest),
}

/// A layer that has its place.
pub(super) struct Job<'a> {
    room: Room<'a>,
    size: u64,
    source: Source,
}

impl Source {
    fn digest(&self) -> &Digest {
        match self {
            Self::Layer(id) => &id.0,
            Self::Blob(digest) | Self::Temporary(_, digest) => digest,
        }
    }
}

impl Saver<'_, '_> {
    /// Writes a file, or puts that off until all have their places.
    pub(super) fn put(&mut self, name: &str, size: u64, source: Source) -> Result<()> {
        match self.members.place(name, size)? {
            Place::Taken => Ok(()),
            // A copy of a temporary file is soon done, and the disk need not have all of them.
            Place::Free(room) if matches!(source, Source::Temporary(..)) => {
                fill(self.store, self.progress, Job { room, size, source })
            }
            Place::Free(room) => {
                self.jobs.push(Job { room, size, source });
                Ok(())
            }
            Place::Next(stream) => {
                let done = told(self.progress, source.digest(), size);
                let fill = |content: &mut dyn Read| stream.fill(size, content, done);
                read(self.store, &source, fill)?;
                self.progress.update(ProgressEvent::LayerDone(source.digest()));
                Ok(())
            }
        }
    }

    /// Writes what was put off, in as many threads as there are processors. The first failure ends it.
    pub(super) fn work_off(&mut self) -> Result<()> {
        let mut jobs = std::mem::take(&mut self.jobs);
        // From the end: the largest first, as they take longest.
        jobs.sort_by_key(|job| job.size);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
        let jobs = Mutex::new(jobs);
        let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let give_up = || jobs.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let (store, progress) = (self.store, self.progress);
        let work = || -> Result<()> {
            while let Some(job) = next() {
                fill(store, progress, job).inspect_err(|_| give_up())?;
            }
            Ok(())
        };
        let failure = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    if let Err(error) = work() {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                });
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

/// Writes a layer to its place.
fn fill(store: &Store, progress: &dyn Progress, job: Job<'_>) -> Result<()> {
    let Job { room, size, source } = job;
    let done = told(progress, source.digest(), size);
    read(store, &source, |content| room.fill(size, content, done))?;
    progress.update(ProgressEvent::LayerDone(source.digest()));
    Ok(())
}

/// Lets somebody read what is to be written.
fn read(
    store: &Store,
    source: &Source,
    fill: impl FnOnce(&mut dyn Read) -> Result<()>,
) -> Result<()> {
    match source {
        Source::Layer(id) => TarStream::open(store, id)?.read_ahead(fill),
        Source::Blob(digest) => {
            let mut file: File = store.blobs().open(digest)?.ok_or_else(|| missing(digest))?;
            fill(&mut file)
        }
        Source::Temporary(draft, _) => fill(&mut draft.file()),
    }
}
