//! Names of containers: a link to an ID each, which only one can make; and how one is found.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::Containers;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::closest::closest;
use crate::spec::id::{ContainerId, is_hex};
use crate::store::file;
use crate::store::lock::Lock;

impl Containers<'_> {
    pub(super) fn name_path(&self, name: &str) -> PathBuf {
        self.store.root.join("names").join(name)
    }

    pub(super) fn reserve_name(&self, name: &str, id: &ContainerId) -> Result<()> {
        let path = self.name_path(name);
        loop {
            match std::os::unix::fs::symlink(id.as_str(), &path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let Some(holder) = self.holder(name)? else { continue };
                    if holder == *id {
                        // Left by a renaming that was cut off.
                        return Ok(());
                    }
                    if self.is_stale(name, &holder)? {
                        self.free_stale_name(name)?;
                        continue;
                    }
                    return Err(Error::new(
                        Kind::Conflict,
                        format!(
                            "the container name \"{name}\" is already in use by {holder}. You have to remove that container to be able to reuse that name: that name is already in use"
                        ),
                    )
                    .hint("choose another name, or pass --replace to remove that container first"));
                }
                Err(error) => {
                    return Err(error).context(|| format!("cannot reserve {}", path.display()));
                }
            }
        }
    }

    fn holder(&self, name: &str) -> Result<Option<ContainerId>> {
        let path = self.name_path(name);
        match fs::read_link(&path) {
            Ok(target) => target.to_string_lossy().parse().map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Finds a container by its name, its ID, or the beginning of its ID if that is unique.
    pub fn lookup(&self, text: &str) -> Result<ContainerId> {
        let name = text.strip_prefix('/').unwrap_or(text);
        let missing = || {
            let error = Error::new(
                Kind::NotFound,
                format!("no container with name or ID \"{text}\" found: no such container"),
            );
            match self.close_name(name) {
                Some(close) => error.hint(format!("did you mean `{close}`?")),
                None => error,
            }
        };
        // No file system has names that long.
        let is_long = name.len() > 255;
        if name.is_empty() || name.contains('/') || name.starts_with('.') || is_long {
            return Err(missing());
        }
        if let Some(id) = self.holder(name)?
            && self.dir(&id).join("config.json").exists()
        {
            return Ok(id);
        }
        if !is_hex(name) || name.len() > 64 {
            return Err(missing());
        }
        let mut found: Vec<ContainerId> = self.ids()?;
        found.retain(|id| id.as_str().starts_with(name));
        match found.as_slice() {
            [id] if self.dir(id).join("config.json").exists() => Ok(id.clone()),
            [] | [_] => Err(missing()),
            several => Err(self.ambiguous(text, several)),
        }
    }

    fn ambiguous(&self, text: &str, several: &[ContainerId]) -> Error {
        const MOST: usize = 10;
        let mut list: Vec<String> = several
            .iter()
            .take(MOST)
            .map(|id| match self.get(id) {
                Ok(Some(container)) => format!("{} ({})", id.short(), container.state.name),
                _ => id.short().to_owned(),
            })
            .collect();
        list.sort_unstable();
        if several.len() > MOST {
            list.push("…".to_owned());
        }
        Error::new(
            Kind::Conflict,
            format!(
                "more than one container has an ID that begins with \"{text}\": {}",
                list.join(", ")
            ),
        )
        .hint("give more digits of the ID, or a name")
    }

    /// Finds a name that is like one that is not there.
    fn close_name(&self, name: &str) -> Option<String> {
        let entries = fs::read_dir(self.store.root.join("names")).ok()?;
        let names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        closest(name, names.iter().map(String::as_str)).map(str::to_owned)
    }

    /// Frees the names whose containers are gone.
    pub(super) fn free_stale_names(&self) -> Result<()> {
        let dir = self.store.root.join("names");
        let context = || format!("cannot list {}", dir.display());
        for entry in fs::read_dir(&dir).context(context)? {
            let name = entry.context(context)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(holder) = self.holder(name)?
                && !self.dir(&holder).exists()
            {
                self.free_stale_name(name)?;
            }
        }
        Ok(())
    }

    /// Tells whether a name is nobody's: whose creation was cut off, or whose renaming.
    fn is_stale(&self, name: &str, holder: &ContainerId) -> Result<bool> {
        let dir = self.dir(holder);
        if !dir.exists() {
            return Ok(true);
        }
        let is_another =
            || -> Result<bool> { Ok(self.state(holder)?.is_some_and(|state| state.name != name)) };
        if !is_another()? {
            return Ok(false);
        }
        // Somebody may be about to rename it.
        match Lock::try_exclusive(&dir.join("lock"))? {
            Some(_lock) => is_another(),
            None => Ok(false),
        }
    }

    /// Frees a name that is nobody's.
    ///
    /// Under a lock, so that nobody frees a name that somebody else has freed and taken meanwhile.
    fn free_stale_name(&self, name: &str) -> Result<()> {
        let _repair = Lock::exclusive(&self.store.root.join("names.lock"))?;
        match self.holder(name)? {
            Some(holder) if self.is_stale(name, &holder)? => {
                file::remove_file(&self.name_path(name))
            }
            _ => Ok(()),
        }
    }
}
