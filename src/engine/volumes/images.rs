//! Images that a container mounts: found when it is made, shown as an overlay that is its own.

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
    /// uppermost layer first.
    pub(in crate::engine) fn image_mounts(
        &self,
        config: &ContainerConfig,
    ) -> Result<BTreeMap<usize, Vec<PathBuf>>> {
        let mut found = BTreeMap::new();
        for (index, mount) in config.settings.mounts.iter().enumerate() {
            if let MountSource::Image { name, layers, .. } = &mount.source {
                let dirs = images::layers(&self.store, layers)
                    .context(|| format!("cannot mount image {name}"))?;
                found.insert(index, dirs);
            }
        }
        Ok(found)
    }
}
