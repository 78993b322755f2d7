//! What is so of a container, and what of its configuration was changed since.

use serde::{Deserialize, Serialize};

use crate::spec::health::Health;
use crate::spec::limits::{Resources, RestartPolicy};
use crate::spec::membership::Membership;

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
    /// When its checkpoint was made, if there is one that was not used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpointed: Option<i64>,
    /// When the present or last run was made of a checkpoint, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<i64>,
    /// Its network endpoint, as the network code recorded it.
    pub network: Option<serde_json::Value>,
    /// Which ports of this machine its present or last run has, as the network code recorded them, if some
    /// were left to that: the next run has the same ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<serde_json::Value>,
    /// The networks that it is on, if that was changed since it was created. Readers find them in the
    /// configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<Membership>>,
    /// What was changed since it was created, of what was decided then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
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
            checkpointed: None,
            restored: None,
            network: None,
            ports: None,
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

    /// Tells whether its program runs, or will again in a moment.
    pub fn is_up(&self) -> bool {
        matches!(self.status, Status::Running(_) | Status::Restarting(_))
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
