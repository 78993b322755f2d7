//! Steps that make a layer: what is known from earlier builds, and what is not in its place yet.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

use super::Builder;
use super::cache::Kept;
use super::stage::{Image, Layer, LayerPlace, Place};
use crate::error::{Context, Result};
use crate::image::upper::{Sealed, seal};
use crate::spec::digest::{DiffId, Digest};
use crate::store::blob::digest_of;
use crate::store::builds::Built;
use crate::store::draft::Finished;
use crate::store::garbage::{Parts, Pin};
use crate::store::layer::LayerDraft;

/// What took so long is worth a write to the disk at once.
const WORTH_KEEPING: Duration = Duration::from_millis(500);

/// What is not in its place yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    finished: Vec<Finished>,
    records: HashMap<Digest, Built>,
    /// Where all layers are that were made here.
    places: HashMap<DiffId, LayerPlace>,
    /// Those of them that are not in their place yet.
    fresh: Vec<DiffId>,
    pub(super) pins: Vec<Pin>,
    /// Steps of this build, in the order in which they were done or found.
    pub(super) used: Vec<Kept>,
}

/// What a step depends on, in words that are kept to tell why another build does not find it.
#[derive(Debug)]
pub(super) struct Key {
    parts: Vec<(String, String)>,
    /// Whether the layers below count for nothing.
    alone: bool,
}

impl Key {
    /// Begins with the layers below.
    pub(super) fn of(image: &Image) -> Self {
        let chain: Vec<&str> = image.layers.iter().map(|layer| layer.id.hex()).collect();
        let mut key = Self { parts: Vec::new(), alone: false };
        key.add("layers below", digest_of(chain.join(",").as_bytes()).hex().to_owned());
        key
    }

    /// Begins without anything: what is made does not depend on what is below.
    pub(super) fn alone() -> Self {
        Self { parts: Vec::new(), alone: true }
    }

    /// Adds a part.
    pub(super) fn add(&mut self, name: &str, value: String) {
        self.parts.push((name.to_owned(), value));
    }

    fn digest(&self) -> Digest {
        let mut text = Vec::new();
        for (name, value) in &self.parts {
            text.extend_from_slice(format!("{name} {} ", value.len()).as_bytes());
            text.extend_from_slice(value.as_bytes());
        }
        digest_of(&text)
    }
}

impl Builder<'_> {
    /// Takes a layer from the cache, or makes it.
    pub(super) fn layer(
        &self,
        image: &mut Image,
        key: &Key,
        place: Place<'_>,
        history: String,
        make: impl FnOnce(&Image, &LayerDraft<'_>) -> Result<()>,
    ) -> Result<()> {
        let digest = key.digest();
        if !image.no_cache
            && let Some(built) = self.known(&digest)
        {
            if self.options.why {
                self.listener
                    .line(place.name, "--> cached: nothing that it depends on has changed");
            }
            if let Some(layer) = &built.layer {
                self.listener.line(place.name, &format!("--> Using cache {}", layer.hex()));
                self.push(image, layer.clone())?;
            }
            self.note_use(&digest, &built);
            image.remember(history, built.layer.is_none(), built.created);
            image.was_cached = true;
            return Ok(());
        }
        if self.options.why {
            self.say_why(image, key, place)?;
        }
        let store = self.engine.store();
        let draft = store.layers().begin()?;
        make(image, &draft)?;
        if let Some(epoch) = self.options.epoch {
            clamp(draft.diff(), epoch)?;
        }
        let lower = if key.alone { Vec::new() } else { image.lower() };
        let sealed = seal(draft, &lower)?;
        let id = sealed.diff_id.clone();
        self.listener.line(place.name, &format!("--> {}", &id.hex()[..12]));
        let built = Built {
            layer: Some(id.clone()),
            created: self.now.clone(),
            step: place.step.text.clone(),
            parts: key.parts.clone(),
        };
        self.note_use(&digest, &built);
        let layer = self.add_pending(sealed);
        if let Ok(mut pending) = self.pending.lock() {
            pending.records.insert(digest, built);
        }
        image.layers.push(layer);
        image.remember(history, false, self.now.clone());
        Ok(())
    }

    /// Notes a step of this build.
    fn note_use(&self, key: &Digest, built: &Built) {
        if let Ok(mut pending) = self.pending.lock() {
            pending.used.push(Kept { key: key.clone(), step: built.clone() });
        }
    }

    /// Adds a layer that was just made.
    pub(super) fn add_pending(&self, sealed: Sealed) -> Layer {
        let mut place = LayerPlace::new(sealed.path);
        let id = sealed.diff_id;
        if let Ok(mut pending) = self.pending.lock() {
            // The same one may have been made by another step; the first stays.
            match pending.places.get(&id) {
                Some(known) => place = known.clone(),
                None => {
                    pending.places.insert(id.clone(), place.clone());
                    pending.fresh.push(id.clone());
                    pending.finished.push(sealed.finished);
                }
            }
        }
        Layer { id, place }
    }

    /// Finds what a step has made before, in this build or an earlier one.
    fn known(&self, key: &Digest) -> Option<Built> {
        let here = self.pending.lock().ok().and_then(|it| it.records.get(key).cloned());
        here.or_else(|| self.engine.store().builds().get(key))
    }

    /// Puts a layer on top of an image.
    fn push(&self, image: &mut Image, id: DiffId) -> Result<()> {
        let made_here = self.pending.lock().ok().and_then(|it| it.places.get(&id).cloned());
        let place = match made_here {
            Some(place) => place,
            None => {
                self.keep(std::slice::from_ref(&id))?;
                LayerPlace::new(self.engine.store().layers().path(&id))
            }
        };
        image.layers.push(Layer { id, place });
        Ok(())
    }

    /// Keeps layers from being removed while the build goes on.
    pub(super) fn keep(&self, layers: &[DiffId]) -> Result<()> {
        let pin = self.engine.store().pin(&Parts::of(layers, []))?;
        if let Ok(mut pending) = self.pending.lock() {
            pending.pins.push(pin);
        }
        Ok(())
    }

    /// Moves what was made into its place, and records it for other builds.
    pub(super) fn settle(&self) -> Result<()> {
        let Ok(mut pending) = self.pending.lock() else { return Ok(()) };
        let made = std::mem::take(&mut pending.fresh);
        if made.is_empty() && pending.records.is_empty() {
            return Ok(());
        }
        let store = self.engine.store();
        let pin = store.pin(&Parts::of(&made, []))?;
        store.publish_soon(std::mem::take(&mut pending.finished))?;
        for id in &made {
            if let Some(place) = pending.places.get(id) {
                place.move_to(store.layers().path(id));
            }
        }
        for (key, built) in pending.records.drain() {
            store.builds().put(&key, &built)?;
        }
        pending.pins.push(pin);
        Ok(())
    }

    /// Does that after a step that took long, so that who is killed later loses little, unless others
    /// go on.
    pub(super) fn settle_between(&self, took: Duration) -> Result<()> {
        if took < WORTH_KEEPING {
            return Ok(());
        }
        match self.busy.try_write() {
            Ok(_nobody_else) => self.settle(),
            Err(_) => Ok(()),
        }
    }

    /// Says in which part this differs from the step of an earlier build that is closest to it.
    fn say_why(&self, image: &Image, key: &Key, place: Place<'_>) -> Result<()> {
        let step = place.step.text.as_str();
        if image.no_cache {
            self.listener.line(place.name, "--> not cached: the cache is not asked");
            return Ok(());
        }
        let differences = |built: &Built| -> Vec<String> {
            let of = |name: &str| built.parts.iter().find(|(known, _)| known == name);
            let changed = key
                .parts
                .iter()
                .filter(|(name, value)| of(name).is_none_or(|(_, other)| other != value));
            changed.map(|(name, _)| name.clone()).collect()
        };
        let known = self.engine.store().builds().list()?;
        let closest = known
            .iter()
            .filter(|(_, built)| built.step.split(' ').next() == step.split(' ').next())
            .map(|(_, built)| (differences(built), built))
            .min_by_key(|(changed, built)| (changed.len(), built.step != step));
        let said = match closest {
            None => "--> not cached: no such step was built before".to_owned(),
            Some((changed, _)) if changed.is_empty() => {
                "--> not cached: what it had made was removed".to_owned()
            }
            Some((changed, built)) if built.step == step => {
                format!("--> not cached: other than before: {}", changed.join(", "))
            }
            Some((changed, built)) => {
                format!("--> not cached: other than `{}`: {}", built.step, changed.join(", "))
            }
        };
        self.listener.line(place.name, &said);
        Ok(())
    }
}

/// Gives everything that is newer a time.
fn clamp(path: &Path, epoch: i64) -> Result<()> {
    let context = || format!("cannot set the time of {}", path.display());
    let found = path.symlink_metadata().context(context)?;
    if found.is_dir() {
        for entry in path.read_dir().context(context)? {
            clamp(&entry.context(context)?.path(), epoch)?;
        }
    }
    if found.mtime() <= epoch {
        return Ok(());
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: epoch, tv_nsec: 0 },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).context(context)
}
