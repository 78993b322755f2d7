//! Images that a container mounts: found when it is made, shown as an overlay that is its own; and the
//! files of artifacts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::engine::{Engine, images};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::mount::MountSource;
use crate::store::container::ContainerConfig;

impl Engine {
    /// Finds the images that a container mounts. The caller keeps all garbage until it is on record.
    pub(in crate::engine) fn settle_images(&self, config: &mut ContainerConfig) -> Result<()> {
        for mount in &mut config.settings.mounts {
            let MountSource::Image { name, id, layers } = &mut mount.source else { continue };
            let image = self.store.images().lookup(name)?;
            if image.builtin.is_some() || image.layers.is_empty() {
                let message = format!("cannot mount image {name}: it has no files of its own");
                return Err(Error::new(Kind::Unsupported, message));
            }
            *layers = image.layers;
            *id = Some(image.id);
        }
        Ok(())
    }

    /// Returns the directories of the images that a container mounts, by the number of the mount; the
    /// uppermost layer first. And the files of artifacts.
    pub(in crate::engine) fn image_mounts(
        &self,
        config: &ContainerConfig,
    ) -> Result<BTreeMap<usize, Vec<PathBuf>>> {
        let mut found = BTreeMap::new();
        for (index, mount) in config.settings.mounts.iter().enumerate() {
            match &mount.source {
                MountSource::Image { name, layers, .. } => {
                    let dirs = images::layers(&self.store, layers)
                        .context(|| format!("cannot mount image {name}"))?;
                    found.insert(index, dirs);
                }
                MountSource::Artifact { name, blob: Some(blob), .. } => {
                    let file = self
                        .artifact_file(blob)
                        .context(|| format!("cannot mount artifact {name}"))?;
                    found.insert(index, vec![file]);
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// As [`image_mounts`](Self::image_mounts), for a container that is about to start. Where the owners
    /// of files must be changed on the disk for it to know them, it gets a copy of its own.
    pub(in crate::engine) fn ready_images(
        &self,
        config: &ContainerConfig,
    ) -> Result<BTreeMap<usize, Vec<PathBuf>>> {
        let mut found = self.image_mounts(config)?;
        if found.is_empty() {
            return Ok(found);
        }
        let mode = &config.settings.users.mode;
        let Some(owners) = self.mapping_on_disk(config.id_mapping.as_ref(), mode)? else {
            return Ok(found);
        };
        for (index, dirs) in &mut found {
            if let Some(MountSource::Image { name, layers, .. }) =
                config.settings.mounts.get(*index).map(|mount| &mount.source)
            {
                let containers = self.store.containers();
                let copied = containers.mounted_image(&config.id, *index, layers, &owners);
                *dirs = vec![copied.context(|| format!("cannot mount image {name}"))?];
            }
        }
        Ok(found)
    }
}
