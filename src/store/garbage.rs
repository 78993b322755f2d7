//! Garbage: layers and blobs that nobody refers to. There is one way to find it, whoever asks.
//!
//! What is referred to follows from the roots, which [`Store::live`] lists: a new kind of object that
//! refers to layers or blobs is added there, and nowhere else. Whoever makes an image [pins](Store::pin)
//! what it will consist of before looking what is here already: a pin is a root as long as its maker
//! lives. So neither `rmi` nor a prune takes away what a pull counts on.
//!
//! What is taken away is moved aside while makers are kept away, which takes no time, and erased after
//! that: nobody waits for the erasure of a large layer.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::draft::{Draft, Gone};
use super::image::Image;
use super::lock::Lock;
use super::{Store, file};
use crate::error::{Context, Result};
use crate::spec::digest::{DiffId, Digest};

/// What the names of pins end with, among the drafts.
const PIN: &str = ".pin";

/// Keeps layers and blobs from being taken for garbage, whether they are here yet or not.
#[derive(Debug)]
pub struct Pin {
    _mark: Draft,
}

/// Layers and blobs: those of the roots, or those that may be garbage.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Layers.
    pub layers: BTreeSet<DiffId>,
    /// Blobs.
    pub blobs: BTreeSet<Digest>,
}

impl Parts {
    /// Names layers and blobs.
    pub fn of<'a>(layers: &[DiffId], blobs: impl IntoIterator<Item = &'a Digest>) -> Self {
        let layers = layers.iter().cloned().collect();
        Self { layers, blobs: blobs.into_iter().cloned().collect() }
    }

    /// Adds all that an image consists of.
    pub fn add_image(&mut self, image: &Image) {
        self.layers.extend(image.layers.iter().cloned());
        self.blobs.extend(image.blobs.iter().cloned());
        self.blobs.insert(image.id.0.clone());
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.layers.extend(other.layers);
        self.blobs.extend(other.blobs);
    }
}

/// What is in use.
struct Live {
    parts: Parts,
    /// The layers of each image, the lowest first.
    images: Vec<Vec<DiffId>>,
}

/// Garbage that was moved aside. Who drops this without erasing it leaves that to [`Store::gc_tmp`].
#[derive(Debug, Default)]
#[must_use]
pub struct Garbage {
    layers: Vec<Gone>,
    bytes: u64,
}

impl Garbage {
    /// Erases it; returns how many bytes that freed.
    ///
    /// To be called without locks: it takes as long as the files are many.
    pub fn erase(self) -> Result<u64> {
        self.layers.into_iter().try_for_each(Gone::erase)?;
        Ok(self.bytes)
    }
}

impl Store {
    /// Keeps layers and blobs from being removed until the pin is dropped.
    ///
    /// To be called before it is looked which of them are here.
    pub fn pin(&self, parts: &Parts) -> Result<Pin> {
        // Who collects garbage sees the whole pin, or has ended before it is made.
        let _kept = self.shared()?;
        let mark = self.draft_marked(PIN)?;
        let context = || format!("cannot write {}", mark.path().display());
        let text = serde_json::to_vec(parts).context(context)?;
        mark.file().write_all(&text).context(context)?;
        Ok(Pin { _mark: mark })
    }

    /// Moves all layers and blobs aside that nobody refers to: makers that failed have left them. Records
    /// of images that they have begun to write go, too.
    pub fn collect_garbage(&self, makers_kept_away: &Lock) -> Result<Garbage> {
        let present = |dir: &str| -> Result<BTreeSet<Digest>> {
            let dir = self.root.join(dir);
            let context = || format!("cannot list {}", dir.display());
            let mut found = BTreeSet::new();
            for entry in fs::read_dir(&dir).context(context)? {
                let name = entry.context(context)?.file_name();
                found.extend(name.to_str().and_then(|name| Digest::from_hex(name).ok()));
            }
            Ok(found)
        };
        let all = Parts {
            layers: present("layers")?.into_iter().map(DiffId).collect(),
            blobs: present("blobs/sha256")?,
        };
        file::remove_half_written(&self.root.join("images"))?;
        self.free(&all, makers_kept_away)
    }

    /// Moves those of some layers and blobs aside that nobody refers to (any more).
    pub fn free(&self, candidates: &Parts, _makers_kept_away: &Lock) -> Result<Garbage> {
        let Some(live) = self.live()? else { return Ok(Garbage::default()) };
        // After a power loss no record may be back of which the layers are gone. A name that is back
        // leads nowhere, which counts for none.
        let records = self.root.join("images");
        File::open(&records)
            .and_then(|directory| directory.sync_all())
            .context(|| format!("cannot write {} to the disk", records.display()))?;
        let mut garbage = Garbage { layers: self.take_chains_away(&live.images)?, bytes: 0 };
        for layer in candidates.layers.difference(&live.parts.layers) {
            // One that is damaged has no size.
            let size = self.layers().info(layer).map_or(0, |info| info.size);
            if let Some(gone) = self.layers().take_away(layer)? {
                garbage.layers.push(gone);
                garbage.bytes += size;
            }
        }
        for blob in candidates.blobs.difference(&live.parts.blobs) {
            garbage.bytes += self.blobs().size(blob);
            self.blobs().remove(blob)?;
        }
        Ok(garbage)
    }

    /// Returns all that the roots refer to; `None` if a record is damaged, so that nobody can tell.
    fn live(&self) -> Result<Option<Live>> {
        let mut live = Parts::default();
        // Images.
        let (images, damaged) = self.images().read_all()?;
        if !damaged.is_empty() {
            return Ok(None);
        }
        images.iter().for_each(|image| live.add_image(image));
        self.lists().add_roots(&mut live)?;
        self.artifacts().add_roots(&mut live)?;
        self.builds().add_roots(&mut live)?;
        // Containers: the layers that they were made with, and files of artifacts that they mount.
        for id in self.containers().ids()? {
            if let Some(container) = self.containers().get(&id)? {
                live.layers.extend(container.config.all_layers().cloned());
                live.blobs.extend(container.config.artifact_files().cloned());
            }
        }
        // Images that are being made.
        for pin in self.pins()? {
            // It is unlocked or gone if its maker has ended meanwhile.
            if Lock::is_held(&pin)?
                && let Some(parts) = file::read_json(&pin)?
            {
                live.add(parts);
            }
        }
        let images = images.into_iter().map(|image| image.layers).collect();
        Ok(Some(Live { parts: live, images }))
    }

    fn pins(&self) -> Result<Vec<PathBuf>> {
        let dir = self.root.join("tmp");
        let context = || format!("cannot list {}", dir.display());
        let mut pins = Vec::new();
        for entry in fs::read_dir(&dir).context(context)? {
            let path = entry.context(context)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(PIN)) {
                pins.push(path);
            }
        }
        Ok(pins)
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::Removal;
    use super::super::image::tests::{image, layer, put, store};
    use super::*;

    fn forget(store: &Store, image: &Image) -> Vec<Removal> {
        let lock = store.exclusive().unwrap();
        let names = store.images().all_names().unwrap().remove(&image.id).unwrap_or_default();
        let done = store.images().forget(&image.id, names, &lock).unwrap();
        let mut parts = Parts::default();
        parts.add_image(image);
        let garbage = store.free(&parts, &lock).unwrap();
        drop(lock);
        garbage.erase().unwrap();
        done
    }

    fn collect(store: &Store) -> u64 {
        let lock = store.exclusive().unwrap();
        let garbage = store.collect_garbage(&lock).unwrap();
        drop(lock);
        garbage.erase().unwrap()
    }

    #[test]
    fn removes_only_what_nobody_else_has() {
        let (_dir, store) = store();
        let (shared, own) = (layer(&store, 'a'), layer(&store, 'b'));
        let one = image(&store, "{}", &[&shared, &own]);
        let two = image(&store, "{ }", &[&shared]);
        put(&store, &one, &["x"]);
        put(&store, &two, &["y"]);
        let gone = forget(&store, &one);
        assert_eq!(
            gone,
            [Removal::Untagged("x".parse().unwrap()), Removal::Deleted(one.id.clone())]
        );
        assert!(store.layers().exists(&shared));
        assert!(!store.layers().exists(&own));
        assert!(!store.blobs().exists(&one.id.0));
        assert!(store.images().find("x").unwrap().is_none());
        assert!(fs::read_dir(store.root.join("tmp")).unwrap().next().is_none());
        // An image whose layer is gone is not recorded.
        let late = store.images().put(&one, &[], &store.shared().unwrap()).unwrap();
        assert!(late.is_none());
        assert!(store.images().untag(&"y".parse().unwrap()).unwrap());
        assert!(!store.images().untag(&"y".parse().unwrap()).unwrap());
        assert_eq!(store.images().list().unwrap()[0].names.len(), 0);
    }

    #[test]
    fn pins_keep_what_is_being_made() {
        let (_dir, store) = store();
        let (pinned, loose) = (layer(&store, 'a'), layer(&store, 'b'));
        let blob = store.blobs().write(b"pinned").unwrap();
        let pin = store.pin(&Parts::of(std::slice::from_ref(&pinned), [&blob])).unwrap();
        // Pins of the dead count for nothing.
        let dead = store.root.join("tmp/dead.pin");
        let text = serde_json::to_string(&Parts::of(std::slice::from_ref(&loose), [])).unwrap();
        fs::write(&dead, text).unwrap();
        collect(&store);
        assert!(store.layers().exists(&pinned) && store.blobs().exists(&blob));
        assert!(!store.layers().exists(&loose));
        store.gc_tmp().unwrap();
        assert!(!dead.exists());
        drop(pin);
        assert_eq!(collect(&store), 6);
        assert!(!store.layers().exists(&pinned) && !store.blobs().exists(&blob));
        assert!(fs::read_dir(store.root.join("tmp")).unwrap().next().is_none());
    }

    #[test]
    fn a_damaged_record_keeps_everything() {
        let (_dir, store) = store();
        let (mine, loose) = (layer(&store, 'a'), layer(&store, 'b'));
        let one = image(&store, "{}", &[&mine]);
        put(&store, &one, &["x"]);
        fs::write(store.root.join("images").join(format!("{}.json", one.id.hex())), "{").unwrap();
        assert_eq!(collect(&store), 0);
        assert!(store.layers().exists(&mine) && store.layers().exists(&loose));
        // It is mended by putting it there again.
        put(&store, &one, &[]);
        assert_eq!(store.images().lookup("x").unwrap(), one);
    }

    #[test]
    fn a_layer_of_which_a_part_was_deleted_is_made_again() {
        let (_dir, store) = store();
        let id = layer(&store, 'a');
        for part in ["diff", "layer.json"] {
            let path = store.layers().path(&id).with_file_name(part);
            drop(fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)));
            assert!(!store.layers().exists(&id), "{part}");
            layer(&store, 'a');
            assert!(store.layers().exists(&id), "{part}");
            assert!(store.layers().path(&id).join("file").exists(), "{part}");
        }
        assert!(fs::read_dir(store.root.join("tmp")).unwrap().next().is_none());
    }
}
