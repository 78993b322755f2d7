//! What was being written when the machine was stopped: it is mended, or taken away, before it is used.
//!
//! A layer that came as a blob is unpacked from it once more; one that was made here is compared with its
//! name, file by file as its recipe has them. What is beyond that is as if it had never come.

use std::collections::HashSet;
use std::io::{self, BufReader, Read};
use std::time::{Duration, Instant};

use super::ingest::{Expected, layer_into};
use super::recipe::Replay;
use crate::error::Result;
use crate::spec::digest::{DiffId, Digest, ImageId};
use crate::store::Store;
use crate::store::image::{Image, Names};
use crate::store::unflushed::Part;
use crate::sys::sha256::Sha256;

const BUFFER: usize = 256 << 10;
/// After so long, the user is told what takes time.
const SILENCE: Duration = Duration::from_secs(1);

/// Mends what a crash may have damaged. `say` is told what the user should know, as it happens.
pub(crate) fn mend(store: &Store, mut say: impl FnMut(&str)) -> Result<()> {
    let Some(doubtful) = store.doubtful()? else { return Ok(()) };
    let begun = Instant::now();
    let mut is_silent = true;
    let (mut gone_blobs, mut gone_layers) = (HashSet::new(), HashSet::new());
    let mut images = HashSet::new();
    // In this order: layers are made of blobs, and images of both.
    for part in doubtful.parts() {
        if is_silent && begun.elapsed() > SILENCE {
            is_silent = false;
            say(
                "images were being written when the machine was stopped: looking whether they are whole",
            );
        }
        match part {
            Part::Blob(digest) => {
                let is_whole =
                    store.blobs().open(&digest)?.is_none_or(|it| has_digest(it, &digest));
                if !is_whole {
                    store.blobs().remove(&digest)?;
                    gone_blobs.insert(digest);
                }
            }
            Part::Layer(id) => {
                if !is_as_recorded(store, &id) && !is_remade(store, &id)? {
                    store.layers().discard(&id)?;
                    gone_layers.insert(id);
                }
            }
            Part::Image(id) => drop(images.insert(id)),
        }
    }
    if !(gone_blobs.is_empty() && gone_layers.is_empty()) {
        // The record of an image may be older than what had to come for it again.
        let needs_them = |image: &Image| {
            image.layers.iter().any(|layer| gone_layers.contains(layer))
                || image.blobs.iter().any(|blob| gone_blobs.contains(blob))
        };
        let all = store.images().list_all()?.0.into_iter().map(|named| named.image);
        images.extend(all.filter(needs_them).map(|image| image.id));
    }
    for id in images {
        if let Some(warning) = check(store, &id)? {
            say(&warning);
        }
    }
    doubtful.settle()
}

fn has_digest(mut from: impl Read, digest: &Digest) -> bool {
    let mut hash = Sha256::default();
    // What cannot be read is not whole.
    io::copy(&mut from, &mut hash).is_ok() && Digest::from_sha256(&hash.finish()) == *digest
}

/// Tells whether a layer that was made here is what its name says.
fn is_as_recorded(store: &Store, id: &DiffId) -> bool {
    store.layers().info(id).is_ok()
        && match Replay::open(&store.layers().path(id)) {
            Ok(Some(replay)) => has_digest(replay, &id.0),
            _ => false,
        }
}

/// Unpacks a layer anew from the blob that it came as; `false` if there is none.
fn is_remade(store: &Store, id: &DiffId) -> Result<bool> {
    for packed in store.layers().packed(id).unwrap_or_default() {
        let Some(file) = store.blobs().open(&packed.digest)? else { continue };
        let input = BufReader::with_capacity(BUFFER, file);
        let expected = Expected { blob: Some((&packed.digest, packed.size)), diff_id: Some(id) };
        if let Ok(made) = layer_into(store, input, None, &expected, |_| {}) {
            store.layers().discard(id)?;
            store.publish(made.finished)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets an image that is not all here.
fn check(store: &Store, id: &ImageId) -> Result<Option<String>> {
    let is_whole = match store.images().get(id) {
        Ok(None) => return Ok(None),
        Ok(Some(image)) => {
            image.layers.iter().all(|layer| store.layers().exists(layer))
                && image.blobs.iter().all(|blob| store.blobs().exists(blob))
        }
        Err(_) => false,
    };
    if is_whole {
        return Ok(None);
    }
    let makers_kept_away = store.exclusive()?;
    let names = store.images().all_names()?.remove(id).unwrap_or_default();
    let shown = shown(id, &names);
    store.images().forget(id, names, &makers_kept_away)?;
    Ok(Some(format!(
        "image {shown} was being written when the machine was stopped, and is not whole: it was removed"
    )))
}

fn shown(id: &ImageId, names: &Names) -> String {
    names.tags.first().map_or_else(|| id.short().to_owned(), |name| name.familiar().to_string())
}
