//! `image mount` and `image unmount`: the files of an image, to be looked at from the host.
//!
//! Mounted images stay; see [`is_mounted`].

use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::Engine;
use crate::engine::mounts::{Place, check_power};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::{Digest, ImageId};
use crate::store::events::{Action, Event};
use crate::store::image::{Image, NamedImage};
use crate::store::lock::Lock;
use crate::store::{Store, file};
use crate::sys::mount::{self, NO_DEV, READ_ONLY};

/// An image whose files can be seen.
#[derive(Clone, Debug)]
pub struct MountedImage {
    /// The image.
    pub named: NamedImage,
    /// Where they are.
    pub path: PathBuf,
}

/// Makes the files of images seen, and counts how often that was asked for.
pub fn mount(engine: &Engine, names: &[String]) -> Result<Vec<MountedImage>> {
    check_power(engine, "image mount")?;
    let store = engine.store();
    // Nobody removes an image between the look-up and the mount.
    let _no_gc = store.shared()?;
    let _lock = lock(store)?;
    let mut mounted = Vec::new();
    for name in names {
        let image = store.images().lookup(name)?;
        let path = mount_image(engine, &image)
            .context(|| format!("cannot mount image {}", image.id.short()))?;
        engine.record_event(Event::of_image(Action::Mount, image.id.hex(), name));
        mounted.push(MountedImage { named: store.images().with_names(image)?, path });
    }
    Ok(mounted)
}

/// As [`mount`], of all images.
pub fn mount_all(engine: &Engine) -> Result<Vec<MountedImage>> {
    let (images, _) = engine.store().images().read_all()?;
    let ids: Vec<String> = images.iter().map(|image| image.id.hex().to_owned()).collect();
    mount(engine, &ids)
}

/// Returns the images that are mounted, by ID.
pub fn mounted(store: &Store) -> Result<Vec<MountedImage>> {
    let dir = store.runroot().join("mounts");
    let mut ids = Vec::new();
    match fs::read_dir(&dir) {
        Ok(entries) => {
            for entry in entries {
                let name = entry.context(|| format!("cannot list {}", dir.display()))?.file_name();
                ids.extend(name.to_str().and_then(|hex| Digest::from_hex(hex).ok()).map(ImageId));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context(|| format!("cannot list {}", dir.display())),
    }
    ids.sort_unstable();
    let mut mounted = Vec::new();
    for id in ids {
        if is_mounted(store, &id)?
            && let Some(image) = store.images().get(&id)?
        {
            let path = place(store, &id).root();
            mounted.push(MountedImage { named: store.images().with_names(image)?, path });
        }
    }
    Ok(mounted)
}

/// Undoes one [`mount`] of an image, or all with `force`; `None` if it is not mounted.
pub fn unmount(engine: &Engine, name: &str, force: bool) -> Result<Option<ImageId>> {
    let store = engine.store();
    let id = store.images().lookup(name)?.id;
    let _lock = lock(store)?;
    if !is_mounted(store, &id)? {
        return Ok(None);
    }
    if place(store, &id).release(force)? {
        engine.record_event(Event::of_image(Action::Unmount, id.hex(), name));
    }
    Ok(Some(id))
}

/// Tells whether the files of an image are seen somewhere.
pub(super) fn is_mounted(store: &Store, id: &ImageId) -> Result<bool> {
    place(store, id).is_mounted()
}

/// Returns the directory that is an image's own for this.
fn place(store: &Store, id: &ImageId) -> Place {
    Place::new(store.runroot().join("mounts").join(id.hex()))
}

fn lock(store: &Store) -> Result<Lock> {
    Lock::exclusive(&store.runroot().join("mounts.lock"))
}

fn mount_image(engine: &Engine, image: &Image) -> Result<PathBuf> {
    let store = engine.store();
    let place = place(store, &image.id);
    if place.is_mounted()? {
        place.count_up()?;
        return Ok(place.root());
    }
    let missing = image.layers.iter().find(|layer| !store.layers().exists(layer));
    if let Some(layer) = missing {
        return Err(Error::new(Kind::NotFound, format!("layer {layer} is missing"))
            .hint("pull or load the image again"));
    }
    // Below its layers: an overlay has two at least.
    let empty = place.dir().join("empty");
    file::create_dirs(&empty, 0o755)?;
    let mut layers: Vec<PathBuf> =
        image.layers.iter().rev().map(|layer| store.layers().path(layer)).collect();
    layers.push(empty);
    // An overlay of one directory alone is refused; an image without layers has nothing anyway.
    let first = layers[0].clone();
    if layers.len() == 1 {
        layers.push(first);
    }
    let layers: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
    let options: &[(String, Option<String>)] =
        if engine.host().rootless { &[("userxattr".to_owned(), None)] } else { &[] };
    let tree = mount::overlay(&layers, None, options, READ_ONLY | NO_DEV)
        .context(|| format!("cannot mount an overlay of {} layers", image.layers.len()))?;
    place.attach(&tree)?;
    Ok(place.root())
}
