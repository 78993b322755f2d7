//! Container records: what was decided, what is so, and who may change it.

mod config;
mod locked;
mod making;
mod names;
mod state;

use std::fs;
use std::path::PathBuf;

pub use config::{Builtin, ContainerConfig};
pub use locked::{Locked, Retired};
pub use making::Belongings;
pub use state::{ChangedHealth, Changes, ContainerState, Run, Status};

use super::health::HealthState;
use super::lock::Lock;
use super::{Store, file};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::network::NetworkMode;
use crate::sys::threads;

/// A container as it was when it was read.
#[derive(Clone, Debug)]
pub struct Container {
    /// What was decided. It is large, and lists are sorted.
    pub config: Box<ContainerConfig>,
    /// What was so.
    pub state: ContainerState,
    /// How it was, if its health is probed.
    pub health: Option<HealthState>,
}

impl Container {
    /// Returns its full ID.
    pub fn id(&self) -> &ContainerId {
        &self.config.id
    }

    fn apply_changes(&mut self) {
        if let Some(networks) = &self.state.networks {
            self.config.settings.network = NetworkMode::Networks(networks.clone());
        }
        if let Some(changes) = &self.state.changes {
            let settings = &mut self.config.settings;
            settings.resources.clone_from(&changes.resources);
            settings.restart = changes.restart;
            if let Some(changed) = &changes.health {
                self.config.health.clone_from(&changed.health);
            }
        }
    }
}

/// All containers of a store.
#[derive(Clone, Copy, Debug)]
pub struct Containers<'a> {
    store: &'a Store,
}

impl<'a> Containers<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    pub(super) fn store(&self) -> &'a Store {
        self.store
    }

    /// Returns the durable directory of a container.
    pub fn dir(&self, id: &ContainerId) -> PathBuf {
        self.store.root.join("containers").join(id.as_str())
    }

    /// Returns the directory of a container that is void after a reboot.
    pub fn run_dir(&self, id: &ContainerId) -> PathBuf {
        self.store.runroot.join("containers").join(id.as_str())
    }

    /// Returns the file with a container's copy of one of its secrets.
    pub fn secret(&self, id: &ContainerId, index: usize) -> PathBuf {
        self.dir(id).join("secrets").join(index.to_string())
    }

    /// Returns the file whose lock tells that a container's monitor lives.
    pub fn monitor_mark(&self, id: &ContainerId) -> PathBuf {
        self.run_dir(id).join("monitor")
    }

    /// Returns the IDs of all containers, in no order.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let dir = self.store.root.join("containers");
        let context = || format!("cannot list {}", dir.display());
        let mut ids = Vec::new();
        for entry in fs::read_dir(&dir).context(context)? {
            let name = entry.context(context)?.file_name();
            // Others are being removed.
            if let Some(id) = name.to_str().and_then(|name| name.parse().ok()) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Reads what is so of a container; `None` if there is none, or it is just being made or removed.
    pub fn state(&self, id: &ContainerId) -> Result<Option<ContainerState>> {
        file::read_json(&self.dir(id).join("state.json"))
    }

    /// Reads a container; `None` if there is none, or it is just being made or removed.
    pub fn get(&self, id: &ContainerId) -> Result<Option<Container>> {
        let dir = self.dir(id);
        let Some(config) = file::read_json(&dir.join("config.json"))? else { return Ok(None) };
        let Some(state) = file::read_json(&dir.join("state.json"))? else { return Ok(None) };
        let mut container = Container { config, state, health: None };
        container.apply_changes();
        if container.config.health.is_some() {
            container.health = Some(self.health(id)?.unwrap_or_default());
        }
        Ok(Some(container))
    }

    /// Reads containers; those that are not there are left out. Many are read in several threads: what
    /// takes time is to understand them.
    pub fn get_all(&self, ids: &[ContainerId]) -> Result<Vec<Container>> {
        threads::map(ids, |id| self.get(id).transpose()).into_iter().flatten().collect()
    }

    /// Waits for the lock of a container and reads it; `NotFound` if it is gone by then.
    pub fn lock(&self, id: &ContainerId) -> Result<Locked<'a>> {
        let gone = || Error::new(Kind::NotFound, format!("no such container {id}"));
        let lock = Lock::exclusive_if_exists(&self.dir(id).join("lock"))?.ok_or_else(gone)?;
        let container = self.get(id)?.ok_or_else(gone)?;
        Ok(self.locked(container, lock))
    }

    /// Takes over a container whose lock another process of ours took and passed on; it was read since.
    pub fn locked(&self, container: Container, lock: Lock) -> Locked<'a> {
        Locked::new(*self, container, lock)
    }

    /// Waits until a container's monitor has let go of everything. The caller holds the container's lock
    /// and has seen that it does not run: then there is no new one.
    pub fn wait_unmonitored(&self, id: &ContainerId) -> Result<()> {
        if !self.is_monitored(id)? {
            return Ok(());
        }
        Lock::exclusive_if_exists(&self.monitor_mark(id)).map(drop)
    }

    /// Tells whether a container's monitor lives.
    pub fn is_monitored(&self, id: &ContainerId) -> Result<bool> {
        Lock::is_held(&self.monitor_mark(id))
    }
}
