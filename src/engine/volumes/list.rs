//! `volume ls` and `volume inspect`: what there is, and who has it.

use std::path::PathBuf;

use serde_json::Value;

use super::plugin::ask_of;
use crate::engine::disk::size_below;
use crate::error::Result;
use crate::spec::id::ContainerId;
use crate::store::Store;
use crate::store::volume::Volume;

/// A volume, and who has it.
#[derive(Clone, Debug)]
pub struct VolumeUse {
    /// The volume.
    pub volume: Volume,
    /// The containers that have it.
    pub users: Vec<ContainerId>,
    /// Whether none of them has run yet.
    pub fresh: bool,
    /// Where its files are; `None` if only its plugin knows.
    pub place: Option<PathBuf>,
    /// What its plugin says of it.
    pub status: Option<Value>,
}

/// Returns all volumes, by name.
pub fn list(store: &Store) -> Result<Vec<VolumeUse>> {
    store.volumes().list()?.into_iter().map(|volume| with_users(store, volume)).collect()
}

/// Finds a volume by its name, or the beginning of it if that is unique.
pub fn lookup(store: &Store, name: &str) -> Result<VolumeUse> {
    with_users(store, store.volumes().lookup(name)?).map(VolumeUse::asked)
}

impl VolumeUse {
    /// Asks its plugin for what only that knows.
    #[must_use]
    pub fn asked(mut self) -> Self {
        if self.volume.spec.is_by_plugin() {
            let known = ask_of(&self.volume);
            (self.place, self.status) = (known.mountpoint, known.status);
        }
        self
    }
}

fn with_users(store: &Store, volume: Volume) -> Result<VolumeUse> {
    let users = store.volumes().users(&volume.name)?;
    let fresh = store.volumes().is_fresh(&volume.name);
    let place = (!volume.spec.is_by_plugin()).then(|| store.volumes().data(&volume.name));
    Ok(VolumeUse { volume, users, fresh, place, status: None })
}

/// Returns the bytes of a volume's files.
pub fn size(store: &Store, volume: &Volume) -> Result<u64> {
    size_below(&store.volumes().data(&volume.name))
}
