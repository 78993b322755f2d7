//! Steps that make a layer: what is known from earlier builds, and what is not in its place yet.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

use super::Builder;
use super::stage::{Image, Layer};
use crate::error::{Context, Result};
use crate::image::upper::{Sealed, seal};
use crate::spec::digest::{DiffId, Digest};
use crate::store::blob::digest_of;
use crate::store::builds::Built;
use crate::store::draft::Finished;
use crate::store::garbage::{Parts, Pin};
use crate::store::layer::LayerDraft;

/// What is not in its place yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    finished: Vec<Finished>,
    records: HashMap<Digest, Built>,
    paths: HashMap<DiffId, PathBuf>,
    pins: Vec<Pin>,
}

/// What a step depends on, in words that are kept to tell why another build does not find it.
#[derive(Debug)]
pub(super) struct Key {
    parts: Vec<(String, String)>,
}

impl Key {
    /// Begins with the layers below.
    pub(super) fn of(image: &Image) -> Self {
        let chain: Vec<&str> = image.layers.iter().map(|layer| layer.id.hex()).collect();
        let mut key = Self { parts: Vec::new() };
        key.add("layers below", digest_of(chain.join(",").as_bytes()).hex().to_owned());
        key
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
    /// Takes a layer from the cache, or makes it. `step` is the instruction for people.
    pub(super) fn layer(
        &self,
        image: &mut Image,
        key: &Key,
        step: &str,
        history: String,
        make: impl FnOnce(&Image, &LayerDraft<'_>) -> Result<()>,
    ) -> Result<()> {
        let digest = key.digest();
        if !image.no_cache
            && let Some(built) = self.known(&digest)?
        {
            if self.options.why {
                self.listener.line("--> cached: nothing that it depends on has changed");
            }
            if let Some(layer) = &built.layer {
                self.listener.line(&format!("--> Using cache {}", layer.hex()));
                self.push(image, layer.clone())?;
            }
            image.remember(history, built.layer.is_none(), built.created);
            return Ok(());
        }
        if self.options.why {
            self.say_why(image, key, step)?;
        }
        let store = self.engine.store();
        let draft = store.layers().begin()?;
        make(image, &draft)?;
        if let Some(epoch) = self.options.epoch {
            clamp(draft.diff(), epoch)?;
        }
        let sealed = seal(draft, &image.lower())?;
        let id = sealed.diff_id;
        self.listener.line(&format!("--> {}", &id.hex()[..12]));
        let built = Built {
            layer: Some(id.clone()),
            created: self.now.clone(),
            step: step.to_owned(),
            parts: key.parts.clone(),
        };
        if let Ok(mut pending) = self.pending.lock() {
            pending.paths.insert(id.clone(), sealed.path);
            pending.finished.push(sealed.finished);
            pending.records.insert(digest, built);
        }
        self.push(image, id)?;
        image.remember(history, false, self.now.clone());
        Ok(())
    }

    /// Adds a layer that belongs to no step.
    pub(super) fn add_pending(&self, sealed: Sealed) {
        if let Ok(mut pending) = self.pending.lock() {
            pending.paths.insert(sealed.diff_id, sealed.path);
            pending.finished.push(sealed.finished);
        }
    }

    /// Finds what a step has made before, in this build or an earlier one.
    fn known(&self, key: &Digest) -> Result<Option<Built>> {
        let here = self.pending.lock().ok().and_then(|it| it.records.get(key).cloned());
        match here {
            Some(built) => Ok(Some(built)),
            None => self.engine.store().builds().get(key),
        }
    }

    /// Puts a layer on top of an image.
    fn push(&self, image: &mut Image, id: DiffId) -> Result<()> {
        let made_here = self.pending.lock().ok().and_then(|it| it.paths.get(&id).cloned());
        let path = match made_here {
            Some(path) => path,
            None => {
                self.keep(std::slice::from_ref(&id))?;
                self.engine.store().layers().path(&id)
            }
        };
        image.layers.push(Layer { id, path });
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
        let made: Vec<DiffId> = pending.paths.keys().cloned().collect();
        if made.is_empty() {
            return Ok(());
        }
        let store = self.engine.store();
        let pin = store.pin(&Parts::of(&made, []))?;
        store.publish(std::mem::take(&mut pending.finished))?;
        for (key, built) in pending.records.drain() {
            store.builds().put(&key, &built)?;
        }
        pending.pins.push(pin);
        Ok(())
    }

    /// Says in which part this differs from the step of an earlier build that is closest to it.
    fn say_why(&self, image: &Image, key: &Key, step: &str) -> Result<()> {
        if image.no_cache {
            self.listener.line("--> not cached: the cache is not asked");
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
        self.listener.line(&match closest {
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
        });
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
