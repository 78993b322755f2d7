//! Layers on their way: the network in one thread, everything else in others.

use std::collections::HashSet;
use std::io::{BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Description;
use crate::error::{Error, Kind, Result};
use crate::image::ingest::{Expected, Ingested, layer, layer_into};
use crate::image::manifest::Blob;
use crate::image::parallel;
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::registry::{Download, Order, Repository, deliver};
use crate::spec::digest::DiffId;
use crate::store::Store;
use crate::store::blob::digest_of;
use crate::store::partial::Partial;

/// How often to look whether somebody else has finished a download.
const GLANCE: Duration = Duration::from_millis(50);

/// A layer that is not here.
pub(super) struct Missing<'a> {
    diff_id: &'a DiffId,
    blob: &'a Blob,
    /// Its bytes, if they came with the manifest.
    data: Option<&'a [u8]>,
    /// Where else it is, if the registry may not give it away.
    addresses: &'a [String],
}

/// Returns the layers that are not here.
pub(super) fn missing<'a>(
    store: &Store,
    described: &'a Description,
    progress: &dyn Progress,
) -> Vec<Missing<'a>> {
    let mut known = HashSet::new();
    let mut missing = Vec::new();
    for (diff_id, blob) in described.config.rootfs.diff_ids.iter().zip(&described.manifest.layers) {
        if store.layers().exists(diff_id) {
            progress.update(ProgressEvent::Present(diff_id));
        } else if known.insert(diff_id) {
            let elsewhere = described.manifest.elsewhere.get(&blob.digest);
            let data = elsewhere.and_then(|found| found.data.as_deref());
            missing.push(Missing {
                diff_id,
                blob,
                // Nothing has to come of nothing.
                data: if blob.size == 0 { Some(&[]) } else { data },
                addresses: elsewhere.map_or(&[], |found| &found.addresses),
            });
        }
    }
    missing
}

/// Fetches layers.
pub(super) fn fetch(
    store: &Store,
    runtime: &Runtime,
    repository: &Arc<Repository>,
    mut missing: Vec<Missing<'_>>,
    progress: &dyn Progress,
) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    // The largest first: they take longest.
    missing.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));
    let (orders, incoming) = unbounded_channel();
    let (done, finished) = oneshot::channel::<()>();
    thread::scope(|scope| {
        let work = scope.spawn(move || {
            let done = Mutex::new(Some(done));
            let given_up = AtomicBool::new(false);
            let give_up = || {
                given_up.store(true, Ordering::Relaxed);
                drop(done.lock().unwrap_or_else(PoisonError::into_inner).take());
            };
            let desk = Desk { store, orders, given_up: &given_up, progress };
            parallel::layers(store, &missing, |layer| desk.take_in(layer), give_up)
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

/// Where layers are taken in.
struct Desk<'a> {
    store: &'a Store,
    orders: UnboundedSender<Order>,
    given_up: &'a AtomicBool,
    progress: &'a dyn Progress,
}

impl Desk<'_> {
    fn take_in(&self, missing: &Missing<'_>) -> Result<Ingested> {
        let digest = &missing.blob.digest;
        let ingested = match self.unpack_here(missing) {
            Some(ingested) => ingested,
            None => self
                .have_come(missing)
                .map_err(|error| error.within(format!("cannot fetch layer {digest}")))?,
        };
        for warning in &ingested.info.warnings {
            self.progress.update(ProgressEvent::Warning(warning));
        }
        self.progress.update(ProgressEvent::LayerDone(digest));
        Ok(ingested)
    }

    /// Takes in a layer whose compressed bytes are here; `None` if they are not, or no good.
    fn unpack_here(&self, missing: &Missing<'_>) -> Option<Ingested> {
        let Blob { digest, size } = missing.blob;
        if let Some(data) = missing.data.filter(|data| digest_of(data) == *digest) {
            let expected = Expected { blob: Some((digest, *size)), diff_id: Some(missing.diff_id) };
            return layer(self.store, data, &expected, |_| {}).ok();
        }
        let file = self.store.blobs().open(digest).ok()??;
        let expected = Expected { blob: None, diff_id: Some(missing.diff_id) };
        layer(self.store, BufReader::new(file), &expected, |_| {}).ok()
    }

    /// Takes in a layer from the registry: all of it, or what is missing of an earlier download.
    fn have_come(&self, missing: &Missing<'_>) -> Result<Ingested> {
        let Some(partial) = self.hold(missing)? else {
            // Somebody else has fetched it.
            let info = self.store.layers().info(missing.diff_id)?;
            let diff_id = missing.diff_id.clone();
            return Ok(Ingested { diff_id, info, finished: Vec::new() });
        };
        if partial.length()? > missing.blob.size {
            partial.discard()?;
        }
        let was_begun = partial.length()? > 0;
        match self.download(missing, &partial) {
            // Its beginning may be what is wrong: nobody has looked at it since it was written.
            Err(error) if was_begun && partial.length()? == 0 => {
                drop(error);
                self.download(missing, &partial)
            }
            result => result,
        }
    }

    /// Waits until nobody else downloads a layer; `None` if it has come here that way.
    fn hold(&self, missing: &Missing<'_>) -> Result<Option<Partial>> {
        let mut is_told = false;
        loop {
            let partial = self.store.try_partial(&missing.blob.digest)?;
            if self.store.layers().exists(missing.diff_id) {
                return Ok(None);
            }
            if partial.is_some() {
                return Ok(partial);
            }
            if self.given_up.load(Ordering::Relaxed) {
                return Err(Error::new(Kind::Unavailable, "the download was given up"));
            }
            if !is_told {
                self.progress.update(ProgressEvent::Waiting(&missing.blob.digest));
                is_told = true;
            }
            thread::sleep(GLANCE);
        }
    }

    /// Downloads what is missing of a layer; bytes that turn out wrong are thrown away.
    fn download(&self, missing: &Missing<'_>, partial: &Partial) -> Result<Ingested> {
        let Blob { digest, size } = missing.blob;
        let offset = partial.length()?;
        let rest = Download::order(&self.orders, missing.blob, offset, missing.addresses);
        let mut input = BufReader::new(partial.reader()?.take(offset)).chain(rest);
        let expected = Expected { blob: Some((digest, *size)), diff_id: Some(missing.diff_id) };
        let mut shown = 0;
        let received = |done: u64| {
            // Often enough for a moving bar.
            if done - shown >= 64 << 10 || done == *size {
                shown = done;
                self.progress.update(ProgressEvent::Layer { digest, done, total: *size });
            }
        };
        let draft = partial.draft(self.store)?;
        match layer_into(self.store, &mut input, Some(draft), &expected, received) {
            Ok(ingested) => Ok(ingested),
            Err(error) => {
                let (_, rest) = input.get_mut();
                let failure = rest.take_failure();
                // What came before a connection was lost is good; what is all here is not.
                let is_whole = failure.is_none() && rest.is_whole();
                let error = failure.unwrap_or(error);
                if is_whole || error.kind() == Kind::Invalid {
                    partial.discard()?;
                }
                Err(error)
            }
        }
    }
}
