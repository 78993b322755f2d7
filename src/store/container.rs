//! Container records: what was decided, what is so, and who may change it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;

use serde::{Deserialize, Serialize};

use super::driver::NewTree;
use super::health::HealthState;
use super::lock::Lock;
use super::volume::Held;
use super::{Store, file};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::closest::closest;
use crate::spec::container::Settings;
use crate::spec::digest::{DiffId, ImageId};
use crate::spec::health::Health;
use crate::spec::id::{ContainerId, is_hex};
use crate::spec::limits::{Resources, RestartPolicy};
use crate::spec::membership::Membership;
use crate::spec::mount::MountSource;
use crate::spec::network::NetworkMode;
use crate::spec::process::Signal;
use crate::spec::userns::{IdMapping, UsernsMode};

/// What was decided when a container was created. Never changes, but for what [`Changes`] puts over it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Full ID.
    pub id: ContainerId,
    /// When it was created, in nanoseconds since 1970.
    pub created: i64,
    /// The image's name as the user wrote it, made complete.
    pub image: String,
    /// The image.
    pub image_id: ImageId,
    /// The image's layers, lowest first.
    pub layers: Vec<DiffId>,
    /// What the root file system is made of besides layers.
    pub builtin: Option<Builtin>,
    /// Program to run; looked up in `PATH` of the container if it has no slash.
    pub path: String,
    /// Its arguments, without the program itself.
    pub args: Vec<String>,
    /// The entrypoint part of both, for those who ask.
    pub entrypoint: Option<Vec<String>>,
    /// Environment in the order in which it is set, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// Working directory.
    pub working_dir: PathBuf,
    /// Whether it is made if it is missing: the image's own, not one that the user named.
    pub make_working_dir: bool,
    /// `USER[:GROUP]`, resolved in the container's own files at start; empty is root.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks it to stop.
    pub stop_signal: Signal,
    /// Ports that the image or the user declared, as in `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Which of our IDs its IDs stand for, if it has a user namespace of its own.
    #[serde(default)]
    pub id_mapping: Option<IdMapping>,
    /// How its health is probed, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What was recorded as it was asked for.
    pub settings: Settings,
}

impl ContainerConfig {
    /// Tells whether the container has a network namespace of its own.
    pub fn has_own_network(&self) -> bool {
        self.settings.network.is_own()
    }

    /// Returns the ID of its image, without the algorithm; empty if a directory is in its place.
    pub fn image_hex(&self) -> &str {
        if self.settings.rootfs.is_some() { "" } else { self.image_id.hex() }
    }

    /// Returns the images that it is made of, or mounts.
    pub fn images(&self) -> impl Iterator<Item = &ImageId> {
        let mounted = self.settings.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Image { id, .. } => id.as_ref(),
            _ => None,
        });
        std::iter::once(&self.image_id).chain(mounted)
    }

    /// Returns the layers of these.
    pub fn all_layers(&self) -> impl Iterator<Item = &DiffId> {
        let mounted = self.settings.mounts.iter().flat_map(|mount| match &mount.source {
            MountSource::Image { layers, .. } => layers.as_slice(),
            _ => &[],
        });
        self.layers.iter().chain(mounted)
    }

    /// Returns the host name of a container that does not share the host's.
    pub fn hostname(&self) -> &str {
        self.settings.hostname.as_deref().unwrap_or_else(|| self.id.short())
    }
}

/// A root file system that does not come from layers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Builtin {
    /// `builtin/hello`: nothing but our own executable.
    Hello,
    /// `builtin/host`: this machine's root file system, copy-on-write.
    Host,
}

/// What is so. The only thing about a container that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Its present name.
    pub name: String,
    /// Where it is in its life.
    pub status: Status,
    /// When the present or last run began, in nanoseconds since 1970; 0 if it never ran.
    pub started: i64,
    /// When the last run ended, in nanoseconds since 1970; 0 if none did.
    pub finished: i64,
    /// How the last run ended.
    pub exit_code: i32,
    /// Why it could not be started or was ended, where that is known.
    pub error: Option<String>,
    /// Whether the kernel ended it for lack of memory.
    pub oom_killed: bool,
    /// How often the restart policy started it again.
    pub restarts: u32,
    /// Whether the user stopped it: the restart policy leaves it alone.
    pub stopped_by_user: bool,
    /// Whether somebody waits for it to end after asking it to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// Its network endpoint, as the network code recorded it.
    pub network: Option<serde_json::Value>,
    /// The networks that it is on, if that was changed since it was created. Readers find them in the
    /// configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<Membership>>,
    /// What was changed since it was created, of what was decided then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
}

/// What `update` changes of a container. Readers find it in the configuration, in place of what was
/// decided at create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// Limits.
    pub resources: Resources,
    /// Restart policy.
    pub restart: RestartPolicy,
    /// How its health is probed, if that was changed.
    #[serde(default)]
    pub health: Option<ChangedHealth>,
}

/// How health is probed from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangedHealth {
    /// The check; `None` is none.
    pub health: Option<Health>,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    Created,
    /// All there but its program, which waits to be let go.
    Initialized(Run),
    /// Running, or paused.
    Running(Run),
    /// Ended; the monitor waits before it starts it again.
    Restarting(Run),
    /// Ended.
    Exited,
}

impl Status {
    /// Returns the run that a monitor looks after: one that is about to begin, goes on, or begins again.
    pub fn monitored(&self) -> Option<&Run> {
        match self {
            Self::Initialized(run) | Self::Running(run) | Self::Restarting(run) => Some(run),
            Self::Created | Self::Exited => None,
        }
    }
}

/// A run of a container: which processes, on which boot of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Process ID of its first process, in the host's (or user's) process namespace.
    pub pid: i32,
    /// Start time of that process, in clock ticks since boot: tells it from a later one of the same number.
    pub start_time: u64,
    /// Process ID of the monitor.
    pub monitor: i32,
    /// The boot during which it was started.
    pub boot_id: String,
    /// Whether the user stopped all its processes for the time being.
    pub paused: bool,
    /// Its control group, below the mount point of each hierarchy; empty if it has none of its own.
    pub cgroup: String,
}

impl ContainerConfig {
    /// Tells whether its first process is systemd, for which it is made then.
    pub fn runs_systemd(&self) -> bool {
        let settings = &self.settings;
        let is_first = !settings.init && settings.init_path.is_none();
        is_first && settings.systemd.applies(&self.path)
    }
}

impl ContainerState {
    /// Makes the state of a container that was just created.
    pub fn created(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            status: Status::Created,
            started: 0,
            finished: 0,
            exit_code: 0,
            error: None,
            oom_killed: false,
            restarts: 0,
            stopped_by_user: false,
            stopping: false,
            network: None,
            networks: None,
            changes: None,
        }
    }

    /// Returns the run, if its program runs.
    pub fn run(&self) -> Option<&Run> {
        match &self.status {
            Status::Running(run) => Some(run),
            _ => None,
        }
    }

    /// Returns the run that has a first process: its program, or what is about to become that.
    pub fn process(&self) -> Option<&Run> {
        match &self.status {
            Status::Initialized(run) | Status::Running(run) => Some(run),
            _ => None,
        }
    }

    /// Returns the word that Docker uses for the status.
    pub fn word(&self) -> &'static str {
        match &self.status {
            Status::Created => "created",
            Status::Initialized(_) => "initialized",
            Status::Running(_) if self.stopping => "stopping",
            Status::Running(run) if run.paused => "paused",
            Status::Running(_) => "running",
            Status::Restarting(_) => "restarting",
            Status::Exited => "exited",
        }
    }
}

/// A container as it was when it was read.
#[derive(Clone, Debug)]
pub struct Container {
    /// What was decided.
    pub config: ContainerConfig,
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

/// So many containers are worth more than one thread.
const MANY: usize = 100;

/// More threads than that only wait for memory.
const MOST_THREADS: usize = 8;

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

    fn name_path(&self, name: &str) -> PathBuf {
        self.store.root.join("names").join(name)
    }

    /// Records a new container under a name; fails with `Conflict` if the name is in use.
    ///
    /// A container that is removed when it exits needs not survive a power loss: nothing is synced.
    pub fn create(&self, config: &ContainerConfig, name: &str, own: &Belongings<'_>) -> Result<()> {
        let dir = self.dir(&config.id);
        self.note_dependant(config)?;

        file::create_dir(&dir, 0o700)?;
        let made = self.reserve_name(name, &config.id).and_then(|()| {
            let taken_up = self.store.volumes().take_up(config, own.volumes);
            let filled = taken_up.and_then(|()| self.fill(config, name, own, &dir));
            filled.and_then(|()| self.check_donors(config)).inspect_err(|_| {
                // The failure to report is the first one.
                drop(file::remove_file(&self.name_path(name)));
            })
        });
        if made.is_err() {
            drop(file::remove_tree(&dir));
            drop(self.forget_dependant(config));
            drop(self.store.volumes().leave(config));
        }
        made
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

    /// Frees the names whose containers are gone.
    fn free_stale_names(&self) -> Result<()> {
        let dir = self.store.root.join("names");
        let context = || format!("cannot list {}", dir.display());
        for entry in fs::read_dir(&dir).context(context)? {
            let name = entry.context(context)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if self.holder(name)?.is_some_and(|holder| !self.dir(&holder).exists()) {
                self.free_stale_name(name)?;
            }
        }
        Ok(())
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

    fn erase(&self, path: &Path) -> Result<()> {
        let name = path.file_stem().unwrap_or_default();
        file::remove_tree(&self.store.runroot.join("containers").join(name))?;
        file::remove_tree(path)
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

    fn fill(
        &self,
        config: &ContainerConfig,
        name: &str,
        own: &Belongings<'_>,
        dir: &Path,
    ) -> Result<()> {
        drop(Lock::exclusive(&dir.join("lock"))?);
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
        file::write_json_volatile(&dir.join("state.json"), &ContainerState::created(name))?;
        // Last: a directory without it is not a container.
        if config.settings.remove {
            file::write_json_volatile(&dir.join("config.json"), config)
        } else {
            file::write_json(&dir.join("config.json"), config)
        }
    }

    fn reserve_name(&self, name: &str, id: &ContainerId) -> Result<()> {
        let path = self.name_path(name);
        loop {
            match std::os::unix::fs::symlink(id.as_str(), &path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let Some(holder) = self.holder(name)? else { continue };
                    if !self.dir(&holder).exists() {
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

    /// Frees a name whose container is gone: its creation was cut off.
    ///
    /// Under a lock, so that nobody frees a name that somebody else has freed and taken meanwhile.
    fn free_stale_name(&self, name: &str) -> Result<()> {
        let _repair = Lock::exclusive(&self.store.root.join("names.lock"))?;
        match self.holder(name)? {
            Some(holder) if !self.dir(&holder).exists() => file::remove_file(&self.name_path(name)),
            _ => Ok(()),
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
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
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

    /// Reads containers, in no order; those that are not there are left out. Many are read in several
    /// threads: what takes time is to understand them.
    pub fn get_all(&self, ids: &[ContainerId]) -> Result<Vec<Container>> {
        let read = |ids: &[ContainerId]| -> Result<Vec<Container>> {
            ids.iter().filter_map(|id| self.get(id).transpose()).collect()
        };
        if ids.len() < MANY {
            return read(ids);
        }
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let parts: Vec<Result<Vec<Container>>> = thread::scope(|scope| {
            let begun: Vec<_> = ids
                .chunks(ids.len().div_ceil(threads))
                .map(|part| (part, scope.spawn(move || read(part))))
                .collect();
            // A thread that panicked has read nothing: then it is done here.
            begun.into_iter().map(|(part, it)| it.join().unwrap_or_else(|_| read(part))).collect()
        });
        let parts: Vec<Vec<Container>> = parts.into_iter().collect::<Result<_>>()?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Waits for the lock of a container and reads it; `NotFound` if it is gone by then.
    pub fn lock(&self, id: &ContainerId) -> Result<Locked<'a>> {
        let gone = || Error::new(Kind::NotFound, format!("no such container {id}"));
        let lock = Lock::exclusive_if_exists(&self.dir(id).join("lock"))?.ok_or_else(gone)?;
        self.locked(id, lock)
    }

    /// Reads a container whose lock another process of ours took and passed on.
    pub fn locked(&self, id: &ContainerId, lock: Lock) -> Result<Locked<'a>> {
        let gone = || Error::new(Kind::NotFound, format!("no such container {id}"));
        let container = self.get(id)?.ok_or_else(gone)?;
        Ok(Locked { containers: *self, container, lock })
    }

    /// Tells whether a container's monitor lives.
    pub fn is_monitored(&self, id: &ContainerId) -> Result<bool> {
        Lock::is_held(&self.monitor_mark(id))
    }
}

/// A container whose lock is held: the permission to change it.
#[derive(Debug)]
pub struct Locked<'a> {
    containers: Containers<'a>,
    container: Container,
    lock: Lock,
}

impl Locked<'_> {
    /// Returns the lock, to pass it on to another process.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Lets go of the record at once, even where other processes inherited the lock.
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
        if let Some(cidfile) = &self.container.config.settings.cidfile {
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
