//! Events: what has happened, one JSON document a line, in the order in which it was written down.
//!
//! An event is one `write` to a file that is open for appending: no lock is taken, and a process that
//! is killed leaves the line there or not. Nothing is synced. The file is put aside when it is large;
//! a few of those that were are kept.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Store;
use super::container::{Container, ContainerConfig};
use super::lock::Lock;
use crate::error::{Context, Result};

/// Bytes after which the file is put aside.
const MOST: u64 = 1 << 20;

/// How many files that were put aside are kept.
const KEPT: u32 = 7;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since 1970.
    pub time: i64,
    /// What kind of object it happened to.
    #[serde(rename = "type")]
    pub object: Object,
    /// What has happened.
    pub action: Action,
    /// ID of the object, if it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Name of a container's image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Labels of a container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What else is to be said, by Docker's names, as in `exitCode` or `signal`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    /// A container.
    Container,
    /// An image or a manifest list.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// A secret.
    Secret,
    /// A config.
    Config,
    /// A pod.
    Pod,
    /// barge itself.
    System,
}

/// What has happened, by Podman's names, and Docker's where Podman has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Action {
    #[serde(rename = "archive-path")]
    ArchivePath,
    Attach,
    Build,
    Checkpoint,
    Cleanup,
    Commit,
    Connect,
    Copy,
    Create,
    Died,
    Disconnect,
    Exec,
    ExecDied,
    Export,
    #[serde(rename = "extract-to-dir")]
    ExtractToDir,
    HealthStatus,
    Import,
    Init,
    Kill,
    #[serde(rename = "loadfromarchive")]
    Load,
    Mount,
    Oom,
    Pause,
    Prune,
    Pull,
    #[serde(rename = "pull-error")]
    PullError,
    Push,
    Refresh,
    Remove,
    Rename,
    Restart,
    Restore,
    Save,
    Start,
    Stop,
    Tag,
    Unmount,
    Unpause,
    Untag,
    Update,
}

impl Object {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Secret => "secret",
            Self::Config => "config",
            Self::Pod => "pod",
            Self::System => "system",
        }
    }
}

impl Action {
    /// Returns Podman's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ArchivePath => "archive-path",
            Self::Attach => "attach",
            Self::Build => "build",
            Self::Checkpoint => "checkpoint",
            Self::Cleanup => "cleanup",
            Self::Commit => "commit",
            Self::Connect => "connect",
            Self::Copy => "copy",
            Self::Create => "create",
            Self::Died => "died",
            Self::Disconnect => "disconnect",
            Self::Exec => "exec",
            Self::ExecDied => "exec_died",
            Self::Export => "export",
            Self::ExtractToDir => "extract-to-dir",
            Self::HealthStatus => "health_status",
            Self::Import => "import",
            Self::Init => "init",
            Self::Kill => "kill",
            Self::Load => "loadfromarchive",
            Self::Mount => "mount",
            Self::Oom => "oom",
            Self::Pause => "pause",
            Self::Prune => "prune",
            Self::Pull => "pull",
            Self::PullError => "pull-error",
            Self::Push => "push",
            Self::Refresh => "refresh",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Restart => "restart",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Tag => "tag",
            Self::Unmount => "unmount",
            Self::Unpause => "unpause",
            Self::Untag => "untag",
            Self::Update => "update",
        }
    }

    /// Returns Docker's name for what happens to an object of this kind.
    pub fn docker_name(self, object: Object) -> &'static str {
        match (self, object) {
            (Self::Died, _) => "die",
            (Self::Remove, Object::Container | Object::Network | Object::Volume) => "destroy",
            (Self::Remove, Object::Image) => "delete",
            (Self::Exec, _) => "exec_start",
            (Self::ExecDied, _) => "exec_die",
            (Self::Load, _) => "load",
            (other, _) => other.as_str(),
        }
    }
}

impl Event {
    /// Makes an event of an object of any kind, that happens now.
    pub fn new(object: Object, action: Action, id: &str, name: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            time: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            object,
            action,
            id: id.to_owned(),
            name: name.to_owned(),
            image: String::new(),
            labels: BTreeMap::new(),
            details: BTreeMap::new(),
        }
    }

    /// Makes an event of a container.
    pub fn of(container: &Container, action: Action) -> Self {
        Self::of_named(&container.config, &container.state.name, action)
    }

    /// Makes an event of a container that has this name now.
    pub fn of_named(config: &ContainerConfig, name: &str, action: Action) -> Self {
        Self {
            image: config.image.clone(),
            labels: config.labels.clone(),
            ..Self::new(Object::Container, action, config.id.as_str(), name)
        }
    }

    /// Makes an event of an image.
    pub fn of_image(action: Action, id: &str, name: &str) -> Self {
        Self::new(Object::Image, action, id, name)
    }

    /// Adds what else is to be said.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.details.insert(key.to_owned(), value.to_string());
        self
    }
}

/// The events of a store.
#[derive(Clone, Copy, Debug)]
pub struct Events<'a> {
    store: &'a Store,
}

impl<'a> Events<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Returns the file that is written to.
    pub fn path(&self) -> PathBuf {
        self.store.root.join("events")
    }

    fn aside(&self, number: u32) -> PathBuf {
        self.store.root.join(format!("events.{number}"))
    }

    /// Returns the files that were put aside, the newest first.
    pub fn put_aside(&self) -> Vec<PathBuf> {
        (1..=KEPT).map(|number| self.aside(number)).take_while(|path| path.exists()).collect()
    }

    /// Writes events down, all at once.
    pub fn record(&self, events: &[Event]) -> Result<()> {
        let path = self.path();
        let context = || format!("cannot write to {}", path.display());
        let mut lines = Vec::with_capacity(256 * events.len());
        for event in events {
            // A line end first: what a full disk has cut off must not spoil the next event.
            lines.push(b'\n');
            serde_json::to_writer(&mut lines, event).context(context)?;
        }
        lines.push(b'\n');
        let mut options = OpenOptions::new();
        let mut file =
            options.append(true).create(true).mode(0o600).open(&path).context(context)?;
        file.write_all(&lines).context(context)?;
        if file.metadata().is_ok_and(|found| found.len() > MOST) {
            self.rotate()?;
        }
        Ok(())
    }

    /// Puts the file aside, unless somebody else is at it.
    fn rotate(&self) -> Result<()> {
        let path = self.path();
        let Some(_lock) = Lock::try_exclusive(&self.store.root.join("events.lock"))? else {
            return Ok(());
        };
        // While we came here, somebody may have done it.
        if !fs::metadata(&path).is_ok_and(|found| found.len() > MOST) {
            return Ok(());
        }
        for number in (0..KEPT).rev() {
            let from = if number == 0 { path.clone() } else { self.aside(number) };
            match fs::rename(&from, self.aside(number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).context(|| format!("cannot rename {}", from.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &Events<'_>) -> Vec<Event> {
        let mut files = events.put_aside();
        files.reverse();
        files.push(events.path());
        let texts = files.iter().map(|path| fs::read_to_string(path).unwrap_or_default());
        let texts: Vec<String> = texts.collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    #[test]
    fn names_are_those_that_are_written() {
        for action in [Action::Load, Action::PullError, Action::ExecDied, Action::HealthStatus] {
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
        assert_eq!(serde_json::to_value(Object::Container).unwrap(), Object::Container.as_str());
        assert_eq!(Action::Remove.docker_name(Object::Image), "delete");
        assert_eq!(Action::Remove.docker_name(Object::Volume), "destroy");
    }

    #[test]
    fn a_line_that_was_cut_off_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &dir.path().join("r")).unwrap();
        let event = |name: &str| Event::of_image(Action::Tag, "id", name).with("a", 1);
        store.events().record(&[event("one")]).unwrap();
        let mut file = OpenOptions::new().append(true).open(store.events().path()).unwrap();
        file.write_all(b"\n{\"time\":12,\"ty").unwrap();
        store.events().record(&[event("two"), event("three")]).unwrap();
        let names: Vec<String> = read(&store.events()).into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["one", "two", "three"]);
    }

    #[test]
    fn many_writers_lose_nothing_when_files_are_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &dir.path().join("r")).unwrap();
        let padding = "x".repeat(20_000);
        let write = |writer: usize| {
            for number in 0..50 {
                let name = format!("{writer}-{number}");
                let event = Event::of_image(Action::Tag, &padding, &name);
                store.events().record(&[event]).unwrap();
            }
        };
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || write(writer));
            }
        });
        // How often depends on who comes to it while somebody is at it: once for certain.
        assert!(!store.events().put_aside().is_empty());
        let mut names: Vec<String> = read(&store.events()).into_iter().map(|it| it.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 200);
    }

    #[test]
    fn old_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &dir.path().join("r")).unwrap();
        let event = Event::of_image(Action::Tag, &"x".repeat(600_000), "name");
        for _ in 0..4 * KEPT {
            store.events().record(std::slice::from_ref(&event)).unwrap();
        }
        assert_eq!(store.events().put_aside().len() as u32, KEPT);
        assert!(!store.events().aside(KEPT + 1).exists());
    }
}
