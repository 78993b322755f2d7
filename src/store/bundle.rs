//! Containers that other tools have the runtime make of bundles. They bring the files and keep the
//! container's story; what is on record here is only what the runtime needs until it is deleted.
//!
//! ```text
//! ROOT                   void after a reboot; /run/barge/runtime, or what --root says
//! └── ID/                one container, named by who made it
//!     ├── lock           held by who makes or deletes it
//!     ├── config.json    the bundle's configuration, as it was when the container was made
//!     ├── state.json     its process and its control group
//!     └── start          the socket at which it waits for its start
//! ```
//!
//! A name is reserved by making the directory. What a killed command leaves is a directory without a
//! state, or with one that names no process or one that is gone: deleting by force clears both.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::file;
use super::lock::Lock;
use crate::error::{Context, Error, Kind, Result};

/// All containers of one root directory.
#[derive(Debug)]
pub struct Bundles {
    root: PathBuf,
}

/// What is on record of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub id: String,
    /// The directory that it was made of.
    pub bundle: PathBuf,
    /// Its root directory.
    pub rootfs: PathBuf,
    /// Its first process; 0 while there is none yet.
    pub pid: i32,
    /// When that started, in clock ticks since boot.
    pub start_time: u64,
    /// When it was created, in nanoseconds since 1970.
    pub created: i64,
    /// Its control group below each mount point; empty if it has none.
    pub cgroup: String,
    /// The unit of systemd that its control group belongs to.
    pub unit: Option<String>,
    /// Whether its control group has no limits of devices, as without root.
    pub rootless: bool,
}

/// A container that nobody else makes or deletes while this is held.
#[derive(Debug)]
pub struct LockedBundle {
    dir: PathBuf,
    _lock: Lock,
}

impl Bundles {
    /// The containers below a directory, which need not be there yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns a container's directory.
    pub fn dir(&self, id: &str) -> Result<PathBuf> {
        check(id)?;
        Ok(self.root.join(id))
    }

    /// Returns the socket at which a container waits for its start.
    pub fn gate(&self, id: &str) -> Result<PathBuf> {
        Ok(self.dir(id)?.join("start"))
    }

    /// Reserves a name for a container that is about to be made.
    pub fn reserve(&self, id: &str) -> Result<LockedBundle> {
        let dir = self.dir(id)?;
        file::create_dirs(&self.root, 0o711)?;
        match file::create_dir(&dir, 0o700) {
            Err(error) if error.kind() == Kind::Conflict => {
                return Err(Error::new(Kind::Conflict, format!("container with id exists: {id}"))
                    .hint("choose another name, or delete that container"));
            }
            other => other?,
        }
        let lock = Lock::exclusive(&dir.join("lock"))?;
        Ok(LockedBundle { dir, _lock: lock })
    }

    /// Locks a container; waits for who makes or deletes it.
    pub fn lock(&self, id: &str) -> Result<LockedBundle> {
        let dir = self.dir(id)?;
        let path = dir.join("lock");
        loop {
            let lock = match Lock::exclusive_if_exists(&path)? {
                Some(lock) => lock,
                // Who made the directory was killed before it could do more.
                None if dir.is_dir() => Lock::exclusive(&path)?,
                None => return Err(not_found()),
            };
            if lock.is_at(&path) {
                return Ok(LockedBundle { dir, _lock: lock });
            }
        }
    }

    /// Returns what is on record of a container.
    pub fn get(&self, id: &str) -> Result<Record> {
        record_in(&self.dir(id)?)?.ok_or_else(not_found)
    }

    /// Returns the configuration that a container was made of.
    pub fn spec(&self, id: &str) -> Result<Spec> {
        file::read_json(&self.dir(id)?.join("config.json"))?.ok_or_else(not_found)
    }

    /// Returns all containers, in the order of their names.
    pub fn list(&self) -> Result<Vec<Record>> {
        let context = || format!("cannot list {}", self.root.display());
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context(context)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            found.extend(record_in(&entry.context(context)?.path())?);
        }
        found.sort_by(|one: &Record, other| one.id.cmp(&other.id));
        Ok(found)
    }
}

impl LockedBundle {
    /// Returns what is on record, if anything is yet.
    pub fn record(&self) -> Result<Option<Record>> {
        record_in(&self.dir)
    }

    /// Puts the configuration on record.
    pub fn save_spec(&self, text: &[u8]) -> Result<()> {
        file::write_volatile(&self.dir.join("config.json"), text)
    }

    /// Puts the container on record.
    pub fn save(&mut self, record: &Record) -> Result<()> {
        file::write_json_volatile(&self.dir.join("state.json"), record)
    }

    /// Forgets the container.
    pub fn remove(self) -> Result<()> {
        // First of all what makes it one.
        file::remove_file(&self.dir.join("state.json"))?;
        file::remove_tree(&self.dir)
    }
}

fn record_in(dir: &Path) -> Result<Option<Record>> {
    file::read_json(&dir.join("state.json"))
}

/// What others look for in the message when a container is gone.
fn not_found() -> Error {
    Error::new(Kind::NotFound, "container does not exist")
}

/// Refuses names that could lead elsewhere.
fn check(id: &str) -> Result<()> {
    let known = |letter: char| letter.is_ascii_alphanumeric() || "_+,-.".contains(letter);
    if id.is_empty() {
        return Err(Error::new(Kind::Invalid, "container id cannot be empty"));
    }
    if matches!(id, "." | "..") || !id.chars().all(known) {
        return Err(Error::new(Kind::Invalid, format!("invalid container id format: {id}"))
            .hint("use letters, digits and `_+,-.`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record {
            id: id.to_owned(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            pid: 1,
            start_time: 2,
            created: 3,
            cgroup: String::new(),
            unit: None,
            rootless: false,
        }
    }

    #[test]
    fn a_name_is_reserved_once() {
        let dir = tempfile::tempdir().unwrap();
        let all = Bundles::new(dir.path().join("root"));
        assert!(all.list().unwrap().is_empty());
        let mut made = all.reserve("a").unwrap();
        assert_eq!(all.reserve("a").unwrap_err().kind(), Kind::Conflict);
        // Nothing is known of it yet.
        assert_eq!(all.get("a").unwrap_err().to_string(), "container does not exist");
        made.save(&record("a")).unwrap();
        drop(made);
        all.reserve("b").unwrap().save(&record("b")).unwrap();
        let names: Vec<_> = all.list().unwrap().into_iter().map(|it| it.id).collect();
        assert_eq!(names, ["a", "b"]);
        all.lock("a").unwrap().remove().unwrap();
        assert_eq!(all.lock("a").unwrap_err().kind(), Kind::NotFound);
        assert!(all.reserve("a").is_ok());
    }

    #[test]
    fn what_a_killed_command_leaves_can_be_locked() {
        let dir = tempfile::tempdir().unwrap();
        let all = Bundles::new(dir.path().to_owned());
        fs::create_dir(dir.path().join("a")).unwrap();
        let locked = all.lock("a").unwrap();
        assert!(locked.record().unwrap().is_none());
        locked.remove().unwrap();
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn names_lead_nowhere_else() {
        for (id, ok) in [
            ("a", true),
            ("A_9+,-.z", true),
            ("..a", true),
            ("", false),
            (".", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
            ("ä", false),
        ] {
            assert_eq!(check(id).is_ok(), ok, "{id}");
        }
    }
}
