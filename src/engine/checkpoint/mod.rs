//! `container checkpoint` and `restore`: the processes of a container in files, and made again of these.
//!
//! A checkpoint lies in the container's directory: CRIU's files, and notes of what CRIU does not keep. It is
//! made under another name, and is there once it is whole. The container ends with it; its file system and
//! its volumes stay as they are, as with every container that has ended. Who restores it has a monitor
//! start it as any other, only that the monitor makes its processes of the files: see `monitor::restored`.
//!
//! No lock is held while CRIU writes. While it makes processes, the container's own lock is, as at each start.
//! Who is killed while an archive of a container that is to go on is written leaves its processes stopped, as by
//! SIGSTOP: SIGCONT has them go on.

mod archive;
mod refused;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::archive::{ExportOptions, ImportOptions};
use super::bundle::{self, Facts};
use super::session::Session;
use super::stop::{AFTER_KILL, wait_for_end};
use super::{Engine, now};
use crate::error::{Context, Error, Kind, Result};
use crate::net;
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::runtime::{After, Dump, Liberties};
use crate::spec::membership::Membership;
use crate::spec::network::NetworkMode;
use crate::store::container::{Container, ContainerConfig, Run};
use crate::store::events::{Action, Event};
use crate::store::file;

/// What is in a checkpoint beside CRIU's files.
const NOTES: &str = "barge.json";

/// What CRIU does not keep for us.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Notes {
    /// What the standard descriptors led to, in CRIU's words.
    pub(super) descriptors: Vec<String>,
    /// The path of the control group.
    pub(super) cgroup: String,
    /// How it was on its networks, with the addresses that it had.
    pub(super) networks: Vec<Membership>,
    /// The ports of this machine that it had, if some were left to us.
    pub(super) ports: Option<serde_json::Value>,
}

/// How to make a checkpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckpointOptions {
    /// Whether the container goes on.
    pub leave_running: bool,
    /// Whether connections of TCP come along.
    pub tcp_established: bool,
    /// Whether locks of files come along.
    pub file_locks: bool,
}

/// How to make processes of a checkpoint.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct RestoreOptions {
    /// Whether the checkpoint stays.
    pub keep: bool,
    /// Whether connections of TCP go on.
    pub tcp_established: bool,
    /// Whether connections of TCP are dropped.
    pub tcp_close: bool,
    /// Whether locks of files are taken again.
    pub file_locks: bool,
    /// Whether it may have other IP addresses.
    pub ignore_static_ip: bool,
    /// Whether it may have other hardware addresses.
    pub ignore_static_mac: bool,
}

impl RestoreOptions {
    /// Returns what CRIU is told of them.
    pub(super) fn liberties(self) -> Liberties {
        Liberties {
            tcp_established: self.tcp_established,
            tcp_close: self.tcp_close,
            file_locks: self.file_locks,
            ..Liberties::default()
        }
    }
}

impl Engine {
    /// Returns the directory of a container's checkpoint.
    pub fn checkpoint_dir(&self, container: &Container) -> PathBuf {
        self.store.containers().dir(container.id()).join("checkpoint")
    }

    /// Writes the processes of a container to files, with which it ends unless it is to go on. Returns its
    /// ID. With `export`, all that belongs to the checkpoint is written to a file, too.
    pub fn checkpoint(
        &self,
        name: &str,
        options: CheckpointOptions,
        export: Option<(&Path, ExportOptions)>,
    ) -> Result<String> {
        let container = self.lookup(name)?;
        self.checkpoint_container(&container, options, export)
            .context(|| format!("cannot checkpoint container {name}"))?;
        self.record_event(Event::of(&container, Action::Checkpoint));
        Ok(container.id().to_string())
    }

    fn checkpoint_container(
        &self,
        container: &Container,
        options: CheckpointOptions,
        export: Option<(&Path, ExportOptions)>,
    ) -> Result<()> {
        self.check_power_to_checkpoint()?;
        let (id, config) = (container.id(), &container.config);
        self.check_can_be_checkpointed(config)?;
        if export.is_some() {
            self.check_can_be_exported(config)?;
        }
        let after = match (options.leave_running, export.is_some()) {
            (false, _) => After::End,
            (true, false) => After::GoOn,
            // Its files are to stay as they are until they are read.
            (true, true) => After::Stand,
        };
        let mut locked = self.store.containers().lock(id)?;
        let Some(run) = locked.state().run().cloned() else {
            let text = format!("it is {}, not running", locked.state().word());
            return Err(Error::new(Kind::Conflict, text).hint("start it first"));
        };
        if run.paused {
            return Err(Error::new(Kind::Conflict, "it is paused").hint("unpause it first"));
        }
        let (networks, ports) = (had_networks(config, &locked), locked.state().ports.clone());
        let was_stopped = locked.state().stopped_by_user;
        let mut session = None;
        if !options.leave_running {
            session = self.watch(id, &run)?;
            // CRIU ends it, which nobody is to take for a reason to start it again.
            locked.update(|state| state.stopped_by_user = true)?;
        }
        drop(locked);
        let dir = self.checkpoint_dir(container);
        let new = dir.with_extension("new");
        let dumped = self.dump(config, &run, &new, options, after).and_then(|descriptors| {
            let notes = Notes { descriptors, cgroup: run.cgroup.clone(), networks, ports };
            file::write_json(&new.join(NOTES), &notes)?;
            file::remove_tree(&dir)?;
            let context = || format!("cannot rename {}", new.display());
            fs::rename(&new, &dir).context(context)
        });
        if let Err(error) = dumped {
            drop(file::remove_tree(&new));
            if after == After::Stand {
                // The first failure is the one to report.
                drop(let_go_on(&run));
            }
            let locked = self.store.containers().lock(id);
            // On a full disk it stays as if somebody had stopped it.
            drop(locked.and_then(|mut it| it.update(|state| state.stopped_by_user = was_stopped)));
            return Err(error);
        }
        let recorded = self.record_checkpoint(container, session).and_then(|()| match export {
            Some((path, options)) => {
                self.export_checkpoint(container, path, options).map_err(|error| {
                    error.hint("the checkpoint itself was made; `barge container restore` knows it")
                })
            }
            None => Ok(()),
        });
        let goes_on = if after == After::Stand { let_go_on(&run) } else { Ok(()) };
        recorded.and(goes_on)
    }

    /// Has CRIU write the processes of a container to a new directory.
    fn dump(
        &self,
        config: &ContainerConfig,
        run: &Run,
        images: &Path,
        options: CheckpointOptions,
        after: After,
    ) -> Result<Vec<String>> {
        file::remove_tree(images)?;
        file::create_dirs(images, 0o700)?;
        let mut facts = Facts::find(self, config, &run.cgroup, None)?;
        facts.volumes = self.ready_volumes(config)?;
        let spec = bundle::spec(config, &facts)?;
        let liberties = Liberties {
            tcp_established: options.tcp_established,
            file_locks: options.file_locks,
            ..Liberties::default()
        };
        let dump = Dump {
            pid: run.pid,
            spec: &spec,
            images,
            work: &self.store.containers().dir(&config.id),
            parent: None,
            foreign_network: config.settings.network != NetworkMode::Host,
            liberties: &liberties,
            after,
        };
        dump.run()
    }

    /// Waits for the end of a container, and records that there is a checkpoint of it.
    fn record_checkpoint(&self, container: &Container, session: Option<Session>) -> Result<()> {
        if let Some(mut session) = session
            && !wait_for_end(&mut session, AFTER_KILL)?
        {
            return Err(Error::new(Kind::Unavailable, "its processes do not end"));
        }
        let mut locked = self.store.containers().lock(container.id())?;
        locked.update(|state| state.checkpointed = Some(now()))
    }

    /// Makes the processes of a container that has ended of its checkpoint. Returns what did not go as
    /// asked.
    pub fn restore(&self, name: &str, options: RestoreOptions) -> Result<Vec<String>> {
        let container = self.lookup(name)?;
        let warnings = self
            .restore_container(&container, options)
            .context(|| format!("cannot restore container {name}"))?;
        self.record_event(Event::of(&container, Action::Restore));
        Ok(warnings)
    }

    fn restore_container(
        &self,
        container: &Container,
        options: RestoreOptions,
    ) -> Result<Vec<String>> {
        self.check_power_to_checkpoint()?;
        if container.state.checkpointed.is_none() {
            let text = "there is no checkpoint of it";
            return Err(Error::new(Kind::NotFound, text)
                .hint("make one by `barge container checkpoint` while it runs"));
        }
        self.check_can_be_checkpointed(&container.config)?;
        self.start_restored(container.id(), options).map_err(|error| {
            match error.kind() == Kind::Conflict && error.hint_text().is_none() {
                true => error.hint("pass --ignore-static-ip to let it have other addresses"),
                false => error,
            }
        })
    }

    /// Reads what was noted beside CRIU's files.
    pub(super) fn checkpoint_notes(&self, config: &ContainerConfig) -> Result<Notes> {
        let path = self.store.containers().dir(&config.id).join("checkpoint").join(NOTES);
        file::read_json(&path)?.ok_or_else(|| {
            let text = format!("there is no checkpoint: {} is missing", path.display());
            Error::new(Kind::NotFound, text)
        })
    }

    /// CRIU needs power over the machine.
    fn check_power_to_checkpoint(&self) -> Result<()> {
        match self.host.rootless {
            false => Ok(()),
            true => Err(Error::new(Kind::Unsupported, "checkpoints need root")),
        }
    }
}

/// Has the processes of a run go on that stand still, as by SIGSTOP.
fn let_go_on(run: &Run) -> Result<()> {
    let cgroup = Cgroup::open(&Hierarchies::detect()?, &run.cgroup)?;
    cgroup.kill_all(libc::SIGCONT).context(|| "cannot let its processes go on")
}

/// Returns how a container that runs is on its networks, with the addresses that it has there.
fn had_networks(
    config: &ContainerConfig,
    locked: &crate::store::container::Locked<'_>,
) -> Vec<Membership> {
    let recorded = locked.state().network.clone();
    let endpoint: net::Endpoint =
        recorded.and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default();
    let members = config.settings.network.memberships();
    let with_addresses = |connection: &net::Connection| {
        let asked = members.iter().find(|member| member.network == connection.network);
        let mut member = asked.cloned().unwrap_or_else(|| Membership::of(&connection.network));
        for address in &connection.addresses {
            member.set_address(address.address());
        }
        member.mac = connection.mac.as_deref().and_then(|mac| mac.parse().ok());
        member.interface.clone_from(&connection.interface);
        member
    };
    endpoint.connections.iter().filter(|it| it.interface.is_some()).map(with_addresses).collect()
}
