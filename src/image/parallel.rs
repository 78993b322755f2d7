//! Several layers at once, and each in its place as soon as it is whole.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use super::ingest::Ingested;
use crate::error::Result;
use crate::store::Store;

/// Takes in layers in as many threads as are of use, and publishes them as they come.
///
/// The first failure keeps further layers from being begun, and is returned; `give_up` ends those
/// that are under way.
pub(crate) fn layers<J: Sync>(
    store: &Store,
    jobs: &[J],
    take_in: impl Fn(&J) -> Result<Ingested> + Sync,
    give_up: impl Fn() + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let (done, arriving) = channel();
    thread::scope(|scope| {
        for _ in 0..threads().min(jobs.len()) {
            let (done, next, failed) = (done.clone(), &next, &failed);
            let (take_in, give_up) = (&take_in, &give_up);
            scope.spawn(move || {
                while !failed.load(Ordering::Relaxed) {
                    let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let result = take_in(job);
                    let is_failure = result.is_err();
                    failed.fetch_or(is_failure, Ordering::Relaxed);
                    // The other end stays until all threads have ended.
                    drop(done.send(result));
                    if is_failure {
                        // Only now: failures that follow from it must not come before it.
                        give_up();
                    }
                }
            });
        }
        drop(done);
        let mut first_failure = Ok(());
        while let Ok(result) = arriving.recv() {
            let published = result.and_then(|ingested| store.publish_soon(ingested.finished));
            if let Err(error) = published {
                failed.store(true, Ordering::Relaxed);
                first_failure = first_failure.and(Err(error));
            }
        }
        first_failure
    })
}

/// Decompressing keeps a processor busy, the network does not.
fn threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from).clamp(4, 16)
}
