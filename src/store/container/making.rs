//! How a container comes on record, whole or not at all, and what sweeps up after those who were cut
//! off.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Container, ContainerConfig, ContainerState, Containers, Locked};
use crate::error::{Context, Result};
use crate::store::driver::NewTree;
use crate::store::file;
use crate::store::health::HealthState;
use crate::store::lock::Lock;
use crate::store::volume::Held;

/// What a container that is about to be recorded has besides its configuration.
#[derive(Clone, Copy)]
pub struct Belongings<'a> {
    /// Its own tree of files, with drivers that make one.
    pub tree: Option<&'a NewTree>,
    /// Its volumes, which are kept until it is on record.
    pub volumes: &'a Held,
    /// Its secrets, in the order of its configuration.
    pub secrets: &'a [Vec<u8>],
}

impl std::fmt::Debug for Belongings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is secret is in no log.
        f.debug_struct("Belongings").field("tree", &self.tree).finish_non_exhaustive()
    }
}

impl<'a> Containers<'a> {
    /// Records a new container under a name, and keeps its lock; fails with `Conflict` if the name is in
    /// use.
    ///
    /// A container that is removed when it exits needs not survive a power loss: nothing is synced.
    pub fn create(
        &self,
        config: &ContainerConfig,
        name: &str,
        own: &Belongings<'_>,
    ) -> Result<Locked<'a>> {
        let dir = self.dir(&config.id);
        self.note_dependant(config)?;

        file::create_dir(&dir, 0o700)?;
        let made = self.reserve_name(name, &config.id).and_then(|()| {
            let taken_up = self.store.volumes().take_up(config, own.volumes);
            let filled = taken_up.and_then(|()| self.fill(config, name, own, &dir));
            let checked = filled.and_then(|made| self.check_donors(config).map(|()| made));
            checked.inspect_err(|_| {
                // The failure to report is the first one.
                drop(file::remove_file(&self.name_path(name)));
            })
        });
        if made.is_err() {
            drop(file::remove_tree(&dir));
            drop(self.forget_dependant(config));
            drop(self.store.volumes().leave(config));
        }
        let (lock, state) = made?;
        let health = config.health.is_some().then(HealthState::default);
        Ok(self.locked(Container { config: Box::new(config.clone()), state, health }, lock))
    }

    fn fill(
        &self,
        config: &ContainerConfig,
        name: &str,
        own: &Belongings<'_>,
        dir: &Path,
    ) -> Result<(Lock, ContainerState)> {
        let lock = Lock::exclusive(&dir.join("lock"))?;
        own.tree.map_or(Ok(()), |tree| tree.place(dir))?;
        if !own.secrets.is_empty() {
            file::create_dir(&dir.join("secrets"), 0o700)?;
        }
        for (index, data) in own.secrets.iter().enumerate() {
            let path = self.secret(&config.id, index);
            match config.settings.remove {
                true => file::write_secret_volatile(&path, data)?,
                false => file::write_secret(&path, data)?,
            }
        }
        let state = ContainerState::created(name);
        file::write_json_volatile(&dir.join("state.json"), &state)?;
        // Last: a directory without it is not a container.
        if config.settings.remove {
            file::write_json_volatile(&dir.join("config.json"), config)?;
        } else {
            file::write_json(&dir.join("config.json"), config)?;
        }
        Ok((lock, state))
    }

    /// Removes what creations and removals that were cut off have left.
    ///
    /// `_makers_kept_away` is the store's lock for one holder: nothing that looks unfinished is
    /// still being made.
    pub fn sweep(&self, _makers_kept_away: &Lock) -> Result<()> {
        for path in self.unfinished()? {
            self.erase(&path)?;
        }
        self.free_stale_names()
    }

    /// Erases what removals that were cut off have left. Others may be at it, too.
    pub fn finish_removals(&self) -> Result<()> {
        let dir = self.store.root.join("containers");
        let context = || format!("cannot list {}", dir.display());
        for entry in fs::read_dir(&dir).context(context)? {
            let path = entry.context(context)?.path();
            if path.extension().is_some() {
                self.erase(&path)?;
            }
        }
        Ok(())
    }

    /// Returns the directories that are no containers, or not yet, or not any more.
    pub fn unfinished(&self) -> Result<Vec<PathBuf>> {
        let dir = self.store.root.join("containers");
        let context = || format!("cannot list {}", dir.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).context(context)? {
            let path = entry.context(context)?.path();
            if !path.join("config.json").exists() || path.extension().is_some() {
                found.push(path);
            }
        }
        Ok(found)
    }

    fn erase(&self, path: &Path) -> Result<()> {
        let name = path.file_stem().unwrap_or_default();
        file::remove_tree(&self.store.runroot.join("containers").join(name))?;
        file::remove_tree(path)
    }
}
