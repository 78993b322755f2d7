//! A container that nobody else changes meanwhile: its record is written, or taken away.

use std::fs;
use std::path::PathBuf;

use super::{Changes, Container, ContainerConfig, ContainerState, Containers};
use crate::error::{Context, Result};
use crate::spec::membership::Membership;
use crate::spec::userns::UsernsMode;
use crate::store::file;
use crate::store::lock::Lock;

/// A container whose lock is held: the permission to change it.
#[derive(Debug)]
pub struct Locked<'a> {
    containers: Containers<'a>,
    container: Container,
    lock: Lock,
}

impl<'a> Locked<'a> {
    pub(super) fn new(containers: Containers<'a>, container: Container, lock: Lock) -> Self {
        Self { containers, container, lock }
    }

    /// Returns the lock, to pass it on to another process.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Lets go of the record at once, even where the lock was passed on to other processes.
    pub fn release(self) {
        self.lock.release();
    }

    /// Returns what was decided at create.
    pub fn config(&self) -> &ContainerConfig {
        &self.container.config
    }

    /// Returns what is so.
    pub fn state(&self) -> &ContainerState {
        &self.container.state
    }

    /// Changes the state and writes it, if it is another one then.
    ///
    /// Nothing is synced: after a power loss the run is over anyway, and a rename is whole.
    pub fn update(&mut self, change: impl FnOnce(&mut ContainerState)) -> Result<()> {
        let before = self.container.state.clone();
        change(&mut self.container.state);
        if self.container.state == before {
            return Ok(());
        }
        let path = self.containers.dir(self.container.id()).join("state.json");
        file::write_json_volatile(&path, &self.container.state)
    }

    /// Changes the networks that the container is on, from now on and durably, and how it is connected
    /// now.
    pub fn change_networks(
        &mut self,
        networks: Vec<Membership>,
        endpoint: Option<serde_json::Value>,
    ) -> Result<()> {
        let state = &mut self.container.state;
        state.networks = Some(networks);
        state.network = endpoint;
        self.container.apply_changes();
        self.write_durably()
    }

    /// Changes limits and restart policy, from now on and durably.
    pub fn change(&mut self, changes: Changes) -> Result<()> {
        self.container.state.changes = Some(changes);
        self.container.apply_changes();
        self.write_durably()
    }

    fn write_durably(&self) -> Result<()> {
        let path = self.containers.dir(self.container.id()).join("state.json");
        if self.container.config.settings.remove {
            return file::write_json_volatile(&path, &self.container.state);
        }
        file::write_json(&path, &self.container.state)
    }

    /// Gives the container another name; fails with `Conflict` if that is in use.
    pub fn rename(&mut self, name: &str) -> Result<()> {
        let old = self.containers.name_path(&self.container.state.name);
        self.containers.reserve_name(name, &self.container.config.id)?;
        self.update(|state| name.clone_into(&mut state.name))?;
        file::remove_file(&old)
    }

    /// Removes the record, the name and all files of the container.
    pub fn remove(self) -> Result<()> {
        self.retire()?.erase()
    }

    /// Takes the container off the record: it is gone for everybody. Its files are yet to be erased.
    pub fn retire(self) -> Result<Retired> {
        let id = self.container.id();
        let dir = self.containers.dir(id);
        let gone = dir.with_extension("gone");
        // First, while the name is surely ours: a container without a name is still found by its ID.
        file::remove_file(&self.containers.name_path(&self.container.state.name))?;
        // Somebody may have put another container's into its place, or anything else.
        if let Some(cidfile) = &self.container.config.settings.cidfile
            && fs::symlink_metadata(cidfile).is_ok_and(|it| it.is_file())
            && fs::read(cidfile).is_ok_and(|text| text.trim_ascii() == id.as_str().as_bytes())
        {
            file::remove_file(cidfile)?;
        }
        fs::rename(&dir, &gone).context(|| format!("cannot remove {}", dir.display()))?;
        self.containers.forget_dependant(&self.container.config)?;
        self.containers.store().volumes().leave(&self.container.config)?;
        let config = &self.container.config;
        if let (UsernsMode::Auto { .. }, Some(mapping)) =
            (&config.settings.users.mode, &config.id_mapping)
            && let Some(range) = mapping.uids.first()
        {
            self.containers.store().free_ids(range.outside, range.count)?;
        }
        Ok(Retired { files: [self.containers.run_dir(id), gone] })
    }
}

/// The files of a container that is gone. Who drops this without erasing them leaves that to
/// [`Containers::sweep`].
#[derive(Debug)]
#[must_use]
pub struct Retired {
    files: [PathBuf; 2],
}

impl Retired {
    /// Erases the files.
    pub fn erase(self) -> Result<()> {
        self.files.iter().try_for_each(|path| file::remove_tree(path))
    }
}
