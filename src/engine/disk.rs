//! `system df`: what takes how much space on the disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Engine;
use super::images::{self, Usage};
use super::volumes::VolumeUse;
use crate::error::{Context, Result};
use crate::spec::digest::{DiffId, Digest, ImageId};
use crate::store::Store;
use crate::store::container::Container;
use crate::store::driver::Tree;
use crate::store::image::NamedImage;

/// What takes how much space.
#[derive(Debug)]
pub struct DiskUsage {
    /// All images together: layers and blobs that several have count once.
    pub images: Total,
    /// Each image.
    pub each_image: Vec<(NamedImage, Usage)>,
    /// All containers together: what they have changed.
    pub containers: Total,
    /// Each container, and bytes that it has changed.
    pub each_container: Vec<(Container, u64)>,
    /// All volumes together.
    pub volumes: Total,
    /// Each volume, and bytes of its files.
    pub each_volume: Vec<(VolumeUse, u64)>,
}

/// How large a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerSize {
    /// Bytes of files that it has changed or added.
    pub own: u64,
    /// The same and all of its image.
    pub all: u64,
}

/// Things of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many there are.
    pub count: usize,
    /// How many are in use.
    pub active: usize,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that would be free without those that are not in use.
    pub reclaimable: u64,
}

impl Engine {
    /// Finds out what takes how much space.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let images = self.store().images().list()?;
        let mut usage = images::usage(self.store(), &images)?;
        let mut containers = Total::default();
        let mut each_container = Vec::new();
        for container in self.list()? {
            let bytes = self.changed(&container)?;
            let active = container.state.status.monitored().is_some();
            containers.add(active, bytes, if active { 0 } else { bytes });
            each_container.push((container, bytes));
        }
        let mut volumes = Total::default();
        let mut each_volume = Vec::new();
        for volume in super::volumes::list(self.store())? {
            let bytes = super::volumes::size(self.store(), &volume.volume)?;
            let active = !volume.users.is_empty();
            volumes.add(active, bytes, if active { 0 } else { bytes });
            each_volume.push((volume, bytes));
        }
        Ok(DiskUsage {
            images: total(self.store(), &images, &usage),
            each_image: images
                .into_iter()
                .map(|named| {
                    let usage = usage.remove(&named.image.id).unwrap_or_default();
                    (named, usage)
                })
                .collect(),
            containers,
            each_container,
            volumes,
            each_volume,
        })
    }

    /// Returns how many bytes of files a container has changed, and sees altogether.
    pub fn container_size(&self, container: &Container) -> Result<ContainerSize> {
        let own = self.changed(container)?;
        let image = self.store().images().get(&container.config.image_id)?;
        Ok(ContainerSize { own, all: own + image.map_or(0, |image| image.size) })
    }

    /// Returns how many bytes of files a container has changed or added.
    pub(super) fn changed(&self, container: &Container) -> Result<u64> {
        let containers = self.store().containers();
        if container.config.settings.rootfs.as_ref().is_some_and(|dir| !dir.overlay) {
            // What is in that directory is not ours.
            return Ok(0);
        }
        if let Tree::Whole(tree) = containers.tree(&container.config) {
            // What it was made from is no change; what was removed since is not seen.
            let image = self.store().images().get(&container.config.image_id)?;
            let size = image.map_or(0, |image| image.size);
            return Ok(size_below(&tree)?.saturating_sub(size));
        }
        let dir = containers.dir(container.id());
        Ok(size_below(&dir.join("upper"))? + size_below(&dir.join("host"))?)
    }
}

impl Total {
    fn add(&mut self, active: bool, bytes: u64, reclaimable: u64) {
        self.count += 1;
        self.active += usize::from(active);
        self.bytes += bytes;
        self.reclaimable += reclaimable;
    }
}

fn total(store: &Store, images: &[NamedImage], usage: &HashMap<ImageId, Usage>) -> Total {
    let mut total = Total::default();
    // Whether something of an image that is in use.
    let mut layers: BTreeMap<&DiffId, bool> = BTreeMap::new();
    let mut blobs: BTreeMap<&Digest, bool> = BTreeMap::new();
    for NamedImage { image, .. } in images {
        let active = usage.get(&image.id).is_some_and(|usage| usage.containers > 0);
        total.add(active, 0, 0);
        for layer in &image.layers {
            *layers.entry(layer).or_default() |= active;
        }
        for blob in &image.blobs {
            *blobs.entry(blob).or_default() |= active;
        }
    }
    // A layer that is missing takes no space.
    let layers = layers
        .into_iter()
        .map(|(layer, active)| (store.layers().info(layer).map_or(0, |info| info.size), active));
    let blobs = blobs.into_iter().map(|(blob, active)| (store.blobs().size(blob), active));
    for (bytes, active) in layers.chain(blobs) {
        total.bytes += bytes;
        total.reclaimable += if active { 0 } else { bytes };
    }
    total
}

/// Returns the bytes of all files below a directory; files with several names count once.
pub(super) fn size_below(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    let mut linked = HashSet::new();
    let mut waiting: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        let context = || format!("cannot list {}", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            // Containers change their files as we look.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(error) => return Err(error).context(context),
        };
        for entry in entries {
            let entry = entry.context(context)?;
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                waiting.push(entry.path());
            } else if metadata.nlink() == 1 || linked.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_files_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), "12345").unwrap();
        fs::hard_link(dir.path().join("a/b"), dir.path().join("c")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("l")).unwrap();
        assert_eq!(size_below(dir.path()).unwrap(), 6);
        assert_eq!(size_below(&dir.path().join("nosuch")).unwrap(), 0);
    }
}
