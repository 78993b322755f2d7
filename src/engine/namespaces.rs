//! Namespaces that a container shares: whose they are, and getting hold of them.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::namespace::{Existing, IpcMode, NamespaceKind, NamespaceMode};
use crate::spec::network::NetworkMode;
use crate::spec::userns::UsernsMode;
use crate::store::container::{Container, ContainerConfig};
use crate::sys::{mountns, process};

/// The number with which clone(2) and setns(2) call a kind of namespace.
fn flag(kind: NamespaceKind) -> i32 {
    match kind {
        NamespaceKind::Cgroup => libc::CLONE_NEWCGROUP,
        NamespaceKind::Ipc => libc::CLONE_NEWIPC,
        NamespaceKind::Network => libc::CLONE_NEWNET,
        NamespaceKind::Pid => libc::CLONE_NEWPID,
        NamespaceKind::User => libc::CLONE_NEWUSER,
        NamespaceKind::Uts => libc::CLONE_NEWUTS,
    }
}

impl Engine {
    /// Replaces the names of containers whose namespaces are to be joined by their IDs, and refuses
    /// those that cannot be joined.
    pub(super) fn settle_donors(&self, config: &mut ContainerConfig) -> Result<()> {
        let settings = &mut config.settings;
        let containers = self.store.containers();
        if let IpcMode::Container(name) = &settings.namespaces.ipc {
            let donor = self.lookup(name)?;
            if matches!(donor.config.settings.namespaces.ipc, IpcMode::Private | IpcMode::None) {
                return Err(Error::new(
                    Kind::Invalid,
                    format!(
                        "joining IPC of container {} is not allowed: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                        donor.id()
                    ),
                ));
            }
        }
        let network = match &mut settings.network {
            NetworkMode::Container(name) => Some(name),
            _ => None,
        };
        let users = match &mut settings.users.mode {
            UsernsMode::Container(name) => Some(name),
            _ => None,
        };
        let others = network.into_iter().chain(users).chain(&mut settings.requires);
        for name in settings.namespaces.donors_mut().chain(others) {
            containers.lookup(name)?.as_str().clone_into(name);
        }
        if settings.hostname.is_some() && !settings.namespaces.uts.is_own() {
            return Err(Error::new(
                Kind::Invalid,
                "cannot set the host name without a UTS namespace of the container's own",
            )
            .hint("leave out --hostname, or --uts"));
        }
        if !settings.namespaces.uts.is_own() {
            let usual = format!("HOSTNAME={}", config.hostname());
            let shown = self.shown_hostname(config)?;
            if let Some(entry) = config.env.iter_mut().find(|entry| **entry == usual) {
                *entry = format!("HOSTNAME={shown}");
            }
        }
        Ok(())
    }

    /// Starts the containers that a container needs, as far as they do not run.
    pub(super) fn start_donors(&self, config: &ContainerConfig) -> Result<()> {
        for donor in config.donors() {
            if self.repaired(&donor)?.state.run().is_none() {
                self.start(&donor, None)
                    .context(|| format!("cannot start container {donor}, which it needs"))?;
            }
        }
        Ok(())
    }

    /// Opens a namespace that exists, as something that setns(2) takes.
    ///
    /// A container's is named by its first process: as long as the descriptor is held, the number
    /// cannot become another process's.
    pub(super) fn existing_namespace(
        &self,
        kind: NamespaceKind,
        existing: Existing<'_>,
    ) -> Result<(OwnedFd, i32)> {
        let file = match existing {
            Existing::Container(id) => self.process_of(&self.donor(&id.parse()?)?)?,
            Existing::Path(path) => open_namespace(kind, path)?,
        };
        Ok((file, flag(kind)))
    }

    /// Opens all namespaces that a container joins, but that of the network.
    pub(super) fn existing_namespaces(
        &self,
        config: &ContainerConfig,
    ) -> Result<Vec<(OwnedFd, i32)>> {
        config
            .settings
            .namespaces
            .existing()
            .map(|(kind, existing)| self.existing_namespace(kind, existing))
            .collect()
    }

    /// Reads a container that is to share its namespaces; it must run.
    pub(super) fn donor(&self, id: &ContainerId) -> Result<Container> {
        let donor = self.repaired(id)?;
        match donor.state.run() {
            Some(_) => Ok(donor),
            None => Err(Error::new(
                Kind::Conflict,
                format!("container {} is not running", donor.state.name),
            )
            .hint("its namespaces exist only while it runs")),
        }
    }

    /// Opens the first process of a container that has one.
    pub(super) fn process_of(&self, container: &Container) -> Result<OwnedFd> {
        let name = &container.state.name;
        let ended = || Error::new(Kind::Conflict, format!("container {name} has just ended"));
        let run = container.state.process().ok_or_else(ended)?;
        process::open(run.pid, run.start_time)
            .context(|| format!("cannot find the process of container {name}"))?
            .ok_or_else(ended)
    }

    /// Gets hold of what is mounted in a container and belongs to another one.
    pub(super) fn given_mounts(&self, config: &ContainerConfig) -> Result<Vec<(PathBuf, OwnedFd)>> {
        let mut given = self.shared_memory(config)?;
        given.extend(self.debugged_files(config)?);
        Ok(given)
    }

    /// Gets hold of the shared memory of the container whose IPC namespace one joins.
    fn shared_memory(&self, config: &ContainerConfig) -> Result<Vec<(PathBuf, OwnedFd)>> {
        let IpcMode::Container(id) = &config.settings.namespaces.ipc else {
            return Ok(Vec::new());
        };
        let donor = self.donor(&id.parse()?)?;
        let process = self.process_of(&donor)?;
        let tree = mountns::clone_mount_of(process.as_fd(), c"/dev/shm", false).context(|| {
            format!("cannot share the shared memory of container {}", donor.state.name)
        })?;
        Ok(vec![("/dev/shm".into(), tree)])
    }

    /// Returns the host name that a container sees.
    pub(super) fn shown_hostname(&self, config: &ContainerConfig) -> Result<String> {
        Ok(match &config.settings.namespaces.uts {
            NamespaceMode::Private | NamespaceMode::Ns(_) => config.hostname().to_owned(),
            NamespaceMode::Host => {
                rustix::system::uname().nodename().to_string_lossy().into_owned()
            }
            NamespaceMode::Container(id) => self.shown_hostname(&self.lookup(id)?.config)?,
        })
    }

    /// Puts containers that need others before those that they need.
    pub fn dependants_first(&self, names: Vec<String>) -> Vec<String> {
        if names.len() < 2 {
            return names;
        }
        let containers = self.store.containers();
        let donors = |name: &String| {
            let found = containers.lookup(name).and_then(|id| containers.get(&id));
            // What is gone or cannot be read is reported by who removes it.
            found.ok().flatten().map(|it| it.config.donors()).unwrap_or_default()
        };
        let mut waiting: Vec<(String, Vec<ContainerId>)> =
            names.into_iter().map(|name| (donors(&name), name)).map(|(a, b)| (b, a)).collect();
        if waiting.iter().all(|(_, donors)| donors.is_empty()) {
            return waiting.into_iter().map(|(name, _)| name).collect();
        }
        let mut sorted = Vec::new();
        while !waiting.is_empty() {
            let is_free = |(name, _): &(String, Vec<ContainerId>)| {
                let id = containers.lookup(name).ok();
                !waiting.iter().any(|(_, donors)| id.as_ref().is_some_and(|id| donors.contains(id)))
            };
            let (free, bound): (Vec<_>, Vec<_>) = {
                let marks: Vec<bool> = waiting.iter().map(is_free).collect();
                let (free, bound): (Vec<_>, Vec<_>) =
                    waiting.drain(..).zip(marks).partition(|(_, free)| *free);
                (
                    free.into_iter().map(|(it, _)| it).collect(),
                    bound.into_iter().map(|(it, _)| it).collect(),
                )
            };
            if free.is_empty() {
                sorted.extend(bound.into_iter().map(|(name, _): (String, _)| name));
                break;
            }
            sorted.extend(free.into_iter().map(|(name, _): (String, _)| name));
            waiting = bound;
        }
        sorted
    }
}

/// Opens a namespace at a path, and makes sure that it is one of this kind.
fn open_namespace(kind: NamespaceKind, path: &Path) -> Result<OwnedFd> {
    let what = || format!("cannot use {} as {} namespace", path.display(), kind.name());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).context(what)?;
    const NSFS: i64 = 0x6e73_6673;
    let is_namespace = rustix::fs::fstatfs(&file).context(what)?.f_type == NSFS;
    // As in `net:[4026531840]`; a bind mount of it shows it too.
    let shown = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
    let other = shown.is_ok_and(|text| {
        let text = text.to_string_lossy();
        // The path of a bind mount says nothing.
        text.contains(":[") && !text.starts_with(&format!("{}:[", kind.name()))
    });
    if !is_namespace || other {
        return Err(Error::new(Kind::Invalid, what())
            .hint(format!("name a namespace, as in /proc/PID/ns/{}", kind.name())));
    }
    Ok(file)
}
