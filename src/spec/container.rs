//! A container as it is asked for.
//!
//! [`ContainerSpec`] is made by the command line, the REST API, compose and the like, and goes into
//! one engine call. [`Settings`] is the part of it that needs no decision and is recorded as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::limits::{Resources, RestartPolicy, Ulimit};
use super::mount::Mount;
use super::network::{NameResolution, NetworkMode, PortMapping};
use super::process::Signal;
use super::security::Security;

/// A container as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    /// Image name, digest or ID as the user wrote it.
    pub image: String,
    /// Name; one is made up if there is none.
    pub name: Option<String>,
    /// Words after the image: replace the image's command.
    pub command: Vec<String>,
    /// Replaces the image's entrypoint (and its command); an empty list means none.
    pub entrypoint: Option<Vec<String>>,
    /// Variables to set (`Some`), or to take over from the caller's environment (already resolved).
    pub env: Vec<(String, String)>,
    /// Variables of the image that are left out.
    pub unset_env: Vec<String>,
    /// Working directory in the container; the image's if there is none.
    pub working_dir: Option<PathBuf>,
    /// `USER[:GROUP]`, names or numbers; the image's if there is none.
    pub user: Option<String>,
    /// Labels, over those of the image.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks it to stop; the image's or TERM if there is none.
    pub stop_signal: Option<Signal>,
    /// Whether all ports that the image exposes are published (`-P`).
    pub publish_all: bool,
    /// File that receives the ID.
    pub cidfile: Option<PathBuf>,
    /// Whether a container that holds the name is removed first.
    pub replace: bool,
    /// What is recorded as it is.
    pub settings: Settings,
}

/// The part of a request that is recorded as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Host name; the short ID if there is none.
    pub hostname: Option<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input is kept open for the user.
    pub interactive: bool,
    /// Whether it is removed when it exits.
    pub remove: bool,
    /// Whether a small init that reaps children is process 1.
    pub init: bool,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Binds and tmpfs.
    pub mounts: Vec<Mount>,
    /// Host devices, as `HOST[:CONTAINER[:rwm]]`.
    pub devices: Vec<String>,
    /// Further groups of its user, names or numbers.
    pub groups: Vec<String>,
    /// Network it is on.
    pub network: NetworkMode,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Names and name servers.
    pub names: NameResolution,
    /// Limits.
    pub resources: Resources,
    /// Rlimits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// What it may do.
    pub security: Security,
    /// Which of the host's namespaces it shares.
    pub share: SharedNamespaces,
    /// Seconds between the stop signal and KILL; 10 if there is none.
    pub stop_timeout: Option<u32>,
    /// Whether it is started again.
    pub restart: RestartPolicy,
    /// Where its output goes.
    pub log: LogSettings,
    /// Permission bits that new files do not get; 0022 if there is none.
    pub umask: Option<u32>,
    /// File that receives the process ID.
    pub pidfile: Option<PathBuf>,
    /// Annotations of the OCI runtime.
    pub annotations: BTreeMap<String, String>,
}

/// Which of the host's namespaces a container shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SharedNamespaces {
    /// Process IDs.
    pub pid: bool,
    /// System V IPC, POSIX queues and shared memory.
    pub ipc: bool,
    /// Host name.
    pub uts: bool,
    /// Control groups.
    pub cgroup: bool,
}

/// Where a container's output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSettings {
    /// How it is kept.
    pub driver: LogDriver,
    /// Bytes after which the file is rotated.
    pub max_size: Option<u64>,
    /// How many rotated files are kept, the newest included.
    pub max_file: Option<u32>,
}

/// How a container's output is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Lines with time and stream, as Kubernetes writes them.
    #[default]
    K8sFile,
    /// Not at all.
    None,
}
