//! barge as an OCI runtime for others: containerd, Podman and Docker have it make containers of
//! bundles, where they would use runc or crun. They bring files, network, output and the story of the
//! container; nothing of an [`Engine`](super::Engine) is used here, and there is no monitor.
//!
//! `create` makes a container and ends; its first process waits at a gate (`crate::runtime::Gate`)
//! until `start` comes. It is a child of whoever reaps our caller's orphans, which is how callers want
//! it. What is so is never on record but looked at: a process that has ended is stopped, one whose
//! gate is closed is created, one whose group is frozen is paused. So a command that was killed on
//! the way leaves nothing wrong behind, and nothing that deleting by force does not clear.
//!
//! What enters a container shows its executable there: `create`, `run` and `exec` are to be called by
//! a process that runs from a protected executable (see `crate::sys::exe`).

mod checkpoint;
mod create;
mod delete;
mod document;
mod exec;
mod features;
mod group;
mod kill;
mod pause;
mod processes;
mod start;
mod state;
mod update;
mod users;

use std::path::PathBuf;

use super::host::Host;
use crate::error::{Error, Kind, Result};
use crate::runtime::Gate;
pub use crate::runtime::OCI_VERSION;
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::store::bundle::{Bundles, Record};
use crate::sys::process;

pub use checkpoint::{Checkpoint, Restoration};
pub use create::Creation;
pub use document::{example, example_rootless};
pub use exec::{Addition, Changes, What};
pub use features::features;
pub use state::State;
pub use update::{Watch, Woken};

/// What somebody has asked of the runtime as a whole.
#[derive(Clone, Debug, Default)]
pub struct RuntimeOptions {
    /// Where containers are on record.
    pub root: Option<PathBuf>,
    /// Whether control groups are made by systemd.
    pub systemd: bool,
}

/// The containers that were made of bundles.
#[derive(Debug)]
pub struct Runtime {
    bundles: Bundles,
    systemd: bool,
    host: Host,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for its start.
    Created,
    /// Its program runs.
    Running,
    /// All its processes stand still.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl Status {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl Runtime {
    /// Finds the containers of a root directory.
    pub fn open(options: &RuntimeOptions) -> Result<Self> {
        let host = Host::look()?;
        let root = match &options.root {
            Some(root) => super::host::absolute(root)?,
            None => host.default_runroot()?.join("runtime"),
        };
        Ok(Self { bundles: Bundles::new(root), systemd: options.systemd, host })
    }

    fn status(&self, record: &Record) -> Result<Status> {
        if !process::is_running(record.pid, record.start_time) {
            return Ok(Status::Stopped);
        }
        if Gate::is_closed(&self.bundles.gate(&record.id)?) {
            return Ok(Status::Created);
        }
        let frozen = !record.cgroup.is_empty() && group_of(record)?.is_frozen();
        Ok(if frozen { Status::Paused } else { Status::Running })
    }
}

/// Opens the control group of a container.
fn group_of(record: &Record) -> Result<Cgroup> {
    Cgroup::open(&Hierarchies::detect()?, &record.cgroup)
}

fn conflict(message: impl Into<String>) -> Error {
    Error::new(Kind::Conflict, message)
}
