//! Volumes: directories that outlive containers.
//!
//! ```text
//! volumes/NAME/
//! ├── volume.json       what was asked for; never changes
//! ├── lock              held for one holder by who fills or removes it, shared by who makes a
//! │                     container that has it
//! ├── users/ID          empty; for each container that has it
//! ├── fresh             nobody has used it yet: it may be filled
//! ├── going             locked by who removes it and is not done: nobody may come to use it
//! ├── busy              shared by who reads or writes its files without a container, for as long as it
//! │                     takes: nobody removes it, and nobody waits for that
//! └── _data/            its files
//! ```
//!
//! A volume is made elsewhere and moved into its place whole, and leaves it the same way. A mark in
//! `users` is made before its container is on record, under the lock that keeps removers away, so a mark
//! without a container says nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::syncfs;
use serde::{Deserialize, Serialize};

use super::container::ContainerConfig;
use super::draft::{Draft, Gone};
use super::lock::Lock;
use super::{Store, driver, file, quota};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::closest::closest;
use crate::spec::id::ContainerId;
use crate::spec::userns::IdMapping;
use crate::spec::volume::{self, OwnDirectory, VolumeSpec};
use crate::sys::quota::Limits;

/// A volume, as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// When it was made, in nanoseconds since 1970.
    pub created: i64,
    /// Whether nobody has named it: it goes with its container.
    #[serde(default)]
    pub anonymous: bool,
    /// What was asked for.
    #[serde(flatten)]
    pub spec: VolumeSpec,
}

/// All volumes of a store.
#[derive(Clone, Copy, Debug)]
pub struct Volumes<'a> {
    store: &'a Store,
}

/// Volumes that stay as long as this lives: a container that has them is being recorded.
#[derive(Debug, Default)]
pub struct Held {
    _locks: Vec<Lock>,
}

/// A volume that is this holder's alone.
#[derive(Debug)]
pub struct LockedVolume<'a> {
    volumes: Volumes<'a>,
    name: String,
    _lock: Lock,
}

/// A volume that nobody can come to use.
#[derive(Debug)]
pub struct ClosedVolume {
    _lock: Lock,
}

/// A volume that nobody removes as long as this lives: its files are read or written without a container.
#[derive(Debug)]
pub struct BusyVolume {
    _lock: Lock,
}

/// Files of a volume that are being made elsewhere.
#[derive(Debug)]
pub struct Staged {
    draft: Draft,
}

/// The files of a volume that is gone, yet to be erased.
#[derive(Debug)]
#[must_use]
pub struct RetiredVolume(Option<Gone>);

impl<'a> Volumes<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    fn top(&self) -> PathBuf {
        self.store.root.join("volumes")
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.top().join(name)
    }

    /// Returns the directory with a volume's files.
    pub fn data(&self, name: &str) -> PathBuf {
        self.dir(name).join("_data")
    }

    /// Reads a volume; `None` if there is none of this name.
    pub fn get(&self, name: &str) -> Result<Option<Volume>> {
        file::read_json(&self.dir(name).join("volume.json"))
    }

    /// Finds a volume by its name, or the beginning of it if that is unique.
    pub fn lookup(&self, text: &str) -> Result<Volume> {
        let missing = |all: &[String]| {
            let message = format!("no volume with name \"{text}\" found: no such volume");
            let error = Error::new(Kind::NotFound, message);
            match closest(text, all.iter().map(String::as_str)) {
                Some(close) => error.hint(format!("did you mean `{close}`?")),
                None => error,
            }
        };
        if volume::parse_name(text).is_err() {
            return Err(missing(&[]));
        }
        if let Some(volume) = self.get(text)? {
            return Ok(volume);
        }
        let names = self.names()?;
        let found: Vec<&String> = names.iter().filter(|name| name.starts_with(text)).collect();
        match found.as_slice() {
            [name] => self.get(name)?.ok_or_else(|| missing(&names)),
            [] => Err(missing(&names)),
            several => {
                let list: Vec<&str> = several.iter().take(10).map(|name| name.as_str()).collect();
                let message = format!(
                    "more than one volume has a name that begins with \"{text}\": {}",
                    list.join(", ")
                );
                Err(Error::new(Kind::Conflict, message).hint("write the whole name"))
            }
        }
    }

    fn names(&self) -> Result<Vec<String>> {
        let top = self.top();
        let context = || format!("cannot list {}", top.display());
        let entries = match fs::read_dir(&top) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context(context)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.context(context)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// Reads all volumes, by name.
    pub fn list(&self) -> Result<Vec<Volume>> {
        let mut volumes = Vec::new();
        for name in self.names()? {
            // Removed as we look.
            volumes.extend(self.get(&name)?);
        }
        Ok(volumes)
    }

    /// Makes a volume; `false` if there is one of this name. With `durable`, it survives a power loss.
    pub fn create(&self, volume: &Volume, durable: bool) -> Result<bool> {
        file::create_dirs(&self.top(), 0o700)?;
        let draft = self.store.draft_dir()?;
        let new = draft.path();
        file::set_mode(new, 0o700)?;
        for (name, mode) in [("_data", 0o755), ("users", 0o700)] {
            file::create_dir(&new.join(name), mode)?;
            file::set_mode(&new.join(name), mode)?;
        }
        for name in ["lock", "busy", "fresh"] {
            let path = new.join(name);
            File::create(&path).context(|| format!("cannot make {}", path.display()))?;
        }
        if let Some(own) = volume.spec.own()? {
            own.apply(&new.join("_data"))?;
        }
        let record = new.join("volume.json");
        match durable {
            true => file::write_json(&record, volume)?,
            false => file::write_json_volatile(&record, volume)?,
        }
        let place = self.dir(&volume.name);
        let context = || format!("cannot make volume {}", volume.name);
        match fs::rename(new, &place) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty
                ) =>
            {
                return Ok(false);
            }
            other => other.context(context)?,
        }
        if durable {
            file::sync_parent(&place).context(context)?;
        }
        Ok(true)
    }

    /// Keeps a volume from being removed while a container that has it is recorded; `None` if there is
    /// no such volume. Who holds several takes them in the order of their names.
    pub fn hold(&self, held: &mut Held, name: &str) -> Result<bool> {
        let lock = self.lock_with(name, Lock::shared_if_exists)?;
        if lock.is_some() && Lock::is_held(&self.dir(name).join("going"))? {
            return Err(going(name));
        }
        let is_there = lock.is_some();
        held._locks.extend(lock);
        Ok(is_there)
    }

    /// As [`Volumes::hold`], and keeps all others from holding it as well.
    pub fn hold_alone(&self, held: &mut Held, name: &str) -> Result<bool> {
        let lock = self.lock_with(name, Lock::exclusive_if_exists)?;
        let is_there = lock.is_some();
        held._locks.extend(lock);
        Ok(is_there)
    }

    /// Waits until a volume is nobody else's; `None` if there is no such volume.
    pub fn lock(&self, name: &str) -> Result<Option<LockedVolume<'a>>> {
        let lock = self.lock_with(name, Lock::exclusive_if_exists)?;
        Ok(lock.map(|lock| LockedVolume { volumes: *self, name: name.to_owned(), _lock: lock }))
    }

    /// Keeps a volume from being removed without a lock that anybody would wait for; `None` if there is no
    /// such volume.
    pub fn keep_busy(&self, name: &str) -> Result<Option<BusyVolume>> {
        let mut held = Held::default();
        if !self.hold(&mut held, name)? {
            return Ok(None);
        }
        let path = self.dir(name).join("busy");
        let lock = match Lock::shared_if_exists(&path)? {
            Some(lock) => lock,
            // It was made before there was one.
            None => Lock::shared(&path)?,
        };
        Ok(Some(BusyVolume { _lock: lock }))
    }

    /// Begins to make the files of a volume elsewhere, as its limits allow.
    pub fn stage(&self, name: &str) -> Result<Staged> {
        let context = || format!("cannot fill volume {name}");
        let staged = Staged { draft: self.store.draft_dir()? };
        let copy = staged.path();
        file::create_dir(&copy, 0o755).context(context)?;
        quota::share(&copy, &self.data(name)).context(context)?;
        Ok(staged)
    }

    /// Tells whether a volume has no files.
    pub fn is_empty(&self, name: &str) -> Result<bool> {
        let data = self.data(name);
        is_empty(&data).context(|| format!("cannot list {}", data.display()))
    }

    fn lock_with(
        &self,
        name: &str,
        take: impl Fn(&Path) -> Result<Option<Lock>>,
    ) -> Result<Option<Lock>> {
        let path = self.dir(name).join("lock");
        loop {
            match take(&path)? {
                None => return Ok(None),
                Some(lock) if lock.is_at(&path) => return Ok(Some(lock)),
                // While we waited, the volume was removed, and maybe another one made.
                Some(_) => {}
            }
        }
    }

    /// Returns the containers that have a volume.
    pub fn users(&self, name: &str) -> Result<Vec<ContainerId>> {
        let dir = self.dir(name).join("users");
        let context = || format!("cannot list {}", dir.display());
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context(context)?,
        };
        let mut users = Vec::new();
        for entry in entries {
            let name = entry.context(context)?.file_name();
            let Some(Ok(id)) = name.to_str().map(str::parse::<ContainerId>) else { continue };
            if self.store.containers().dir(&id).join("config.json").exists() {
                users.push(id);
            }
        }
        users.sort();
        Ok(users)
    }

    /// Marks that a container that is about to be recorded has its volumes, which are held.
    pub(super) fn take_up(&self, config: &ContainerConfig, _held: &Held) -> Result<()> {
        for name in config.volumes() {
            let mark = self.dir(name).join("users").join(config.id.as_str());
            File::create(&mark).context(|| format!("cannot write {}", mark.display()))?;
        }
        Ok(())
    }

    /// Removes the marks of a container that is no more.
    pub(super) fn leave(&self, config: &ContainerConfig) -> Result<()> {
        config.volumes().into_iter().try_for_each(|name| {
            file::remove_file(&self.dir(name).join("users").join(config.id.as_str()))
        })
    }

    /// Tells whether nobody has used a volume yet.
    pub fn is_fresh(&self, name: &str) -> bool {
        self.dir(name).join("fresh").exists()
    }
}

impl Held {
    /// Lets go of them, in all processes that have inherited them.
    pub fn release(&mut self) {
        self._locks.drain(..).for_each(Lock::release);
    }
}

impl ContainerConfig {
    /// Returns the names of its volumes, in order.
    pub fn volumes(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.settings.mounts.iter().filter_map(|mount| mount.volume()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl LockedVolume<'_> {
    /// Gives the volume the files of a directory, with owner and mode of that, unless it has some.
    ///
    /// The copy is made elsewhere and takes the place of the empty directory whole. With `owners`, the
    /// files belong to who their owners stand for.
    pub fn fill(&self, from: &Path, owners: Option<&IdMapping>, durable: bool) -> Result<()> {
        if !self.volumes.is_empty(&self.name)? {
            return Ok(());
        }
        let staged = self.volumes.stage(&self.name)?;
        driver::copy_tree(from, &staged.path(), owners)
            .context(|| format!("cannot fill volume {}", self.name))?;
        // Somebody may put something in meanwhile, which stays.
        self.take_in(staged, durable).map(drop)
    }

    /// Tells whether somebody reads or writes its files without a container. While it is locked, nobody
    /// can come to do so.
    pub fn is_busy(&self) -> Result<bool> {
        let path = self.volumes.dir(&self.name).join("busy");
        Ok(Lock::try_exclusive(&path)?.is_none())
    }

    /// Gives the volume files that were made elsewhere, unless it has some; `false` if it has.
    pub fn take_in(&self, staged: Staged, durable: bool) -> Result<bool> {
        let context = || format!("cannot fill volume {}", self.name);
        if durable {
            syncfs(staged.draft.file()).context(context)?;
        }
        match fs::rename(staged.path(), self.volumes.data(&self.name)) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(false),
            other => other.map(|()| true).context(context),
        }
    }

    /// Gives the volume's empty directory to somebody.
    pub fn give_to(&self, uid: u32, gid: u32) -> Result<()> {
        let data = self.volumes.data(&self.name);
        if self.volumes.is_empty(&self.name)? {
            std::os::unix::fs::chown(&data, Some(uid), Some(gid))
                .context(|| format!("cannot change the owner of {}", data.display()))?;
        }
        Ok(())
    }

    /// Keeps everybody from coming to use the volume, also when it is not locked any more, until what is
    /// returned is dropped.
    pub fn close(self) -> Result<ClosedVolume> {
        let path = self.volumes.dir(&self.name).join("going");
        match Lock::try_exclusive(&path)? {
            Some(lock) => Ok(ClosedVolume { _lock: lock }),
            None => Err(going(&self.name)),
        }
    }

    /// Notes that the volume is in use from now on, with what it has.
    pub fn is_used(&self) -> Result<()> {
        file::remove_file(&self.volumes.dir(&self.name).join("fresh"))
    }

    /// Returns the containers that have it. While it is locked, no others can come.
    pub fn users(&self) -> Result<Vec<ContainerId>> {
        self.volumes.users(&self.name)
    }

    /// Takes the volume off the record: it is gone for everybody.
    pub fn retire(self) -> Result<RetiredVolume> {
        quota::lift(&self.volumes.data(&self.name));
        self.volumes.store.take_away(&self.volumes.dir(&self.name)).map(RetiredVolume)
    }
}

impl Staged {
    /// Returns the directory that is being filled.
    pub fn path(&self) -> PathBuf {
        self.draft.path().join("_data")
    }
}

impl OwnDirectory {
    /// Makes an empty directory what is asked of it.
    fn apply(self, dir: &Path) -> Result<()> {
        if self.bytes.is_some() || self.inodes.is_some() {
            quota::limit(dir, Limits { bytes: self.bytes, inodes: self.inodes })?;
        }
        if self.uid.is_some() || self.gid.is_some() {
            std::os::unix::fs::chown(dir, self.uid, self.gid)
                .context(|| format!("cannot change the owner of {}", dir.display()))?;
        }
        Ok(())
    }
}

impl RetiredVolume {
    /// Erases the files.
    pub fn erase(self) -> Result<()> {
        self.0.map_or(Ok(()), Gone::erase)
    }
}

fn going(name: &str) -> Error {
    Error::new(Kind::Conflict, format!("volume {name} is being removed"))
        .hint("try again when its plugin is done")
}

fn is_empty(dir: &Path) -> std::io::Result<bool> {
    Ok(fs::read_dir(dir)?.next().is_none())
}

/// Labels and options as one text, as templates show them.
pub fn joined(map: &BTreeMap<String, String>) -> String {
    let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
    entries.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_whole_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let volumes = store.volumes();
        let volume = |name: &str| Volume {
            name: name.to_owned(),
            created: 1,
            anonymous: false,
            spec: VolumeSpec::default(),
        };
        assert!(volumes.create(&volume("data"), true).unwrap());
        assert!(!volumes.create(&volume("data"), true).unwrap());
        assert!(volumes.create(&volume("date"), false).unwrap());
        assert_eq!(volumes.list().unwrap().len(), 2);
        assert_eq!(volumes.lookup("data").unwrap(), volume("data"));
        for (text, kind) in
            [("dat", Kind::Conflict), ("x", Kind::NotFound), ("../x", Kind::NotFound)]
        {
            assert_eq!(volumes.lookup(text).unwrap_err().kind(), kind, "{text}");
        }
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), "text").unwrap();
        let locked = volumes.lock("data").unwrap().unwrap();
        locked.fill(&from, None, true).unwrap();
        assert_eq!(fs::read_to_string(volumes.data("data").join("file")).unwrap(), "text");
        fs::write(from.join("file"), "other").unwrap();
        locked.fill(&from, None, true).unwrap();
        assert_eq!(fs::read_to_string(volumes.data("data").join("file")).unwrap(), "text");
        assert!(volumes.is_fresh("data"));
        locked.is_used().unwrap();
        assert!(!volumes.is_fresh("data"));
        locked.retire().unwrap().erase().unwrap();
        assert!(volumes.get("data").unwrap().is_none());
        assert!(volumes.lock("data").unwrap().is_none());
        assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    }
}
