//! What new containers are like where nobody says otherwise: `containers.conf`.
//!
//! Several files say it, one over the other. Keys that are not known, and those that have no meaning
//! here, are passed over, as Podman does.

mod file;
mod network;

use std::net::IpAddr;
use std::path::PathBuf;

pub use self::network::{NetworkDefaults, Pool};
use super::group::CgroupsMode;
use super::keys::DetachKeys;
use super::limits::Ulimit;
use super::log::LogDriver;
use super::mount::Mount;
use super::namespace::{IpcMode, NamespaceMode};
use super::network::{HostAddress, HostsBase, NetworkMode};
use super::userns::UsernsMode;

/// What one file says, or several together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// Annotations of the OCI runtime.
    pub annotations: List<(String, String)>,
    /// What /etc/hosts begins with.
    pub base_hosts_file: Option<HostsBase>,
    /// Files of the control group to be written.
    pub cgroup_conf: List<(String, String)>,
    /// Control group namespace.
    pub cgroupns: Option<NamespaceMode>,
    /// Whether they have control groups.
    pub cgroups: Option<CgroupsMode>,
    /// Capabilities in place of the usual ones.
    pub capabilities: List<String>,
    /// Where it is said what devices with names are.
    pub cdi_directories: List<PathBuf>,
    /// Keys that leave a container that one is connected to.
    pub detach_keys: Option<DetachKeys>,
    /// Devices, as for `--device`.
    pub devices: List<String>,
    /// Resolver options.
    pub dns_options: List<String>,
    /// Search domains.
    pub dns_searches: List<String>,
    /// Name servers; `None` stands for no resolv.conf at all.
    pub dns_servers: List<Option<IpAddr>>,
    /// Variables below those of the image.
    pub env: List<(String, String)>,
    /// Whether all variables of the caller are taken over.
    pub env_host: Option<bool>,
    /// The host's address for its names in the container.
    pub host_ip: Option<HostAddress>,
    /// Whether proxies are passed on.
    pub http_proxy: Option<bool>,
    /// Whether there is a small init.
    pub init: Option<bool>,
    /// Program of the host that is the init.
    pub init_path: Option<PathBuf>,
    /// IPC namespace.
    pub ipcns: Option<IpcMode>,
    /// How output is kept.
    pub log_driver: Option<LogDriver>,
    /// Bytes after which a log is rotated; negative for no limit.
    pub log_size_max: Option<i64>,
    /// What containers are called in logs.
    pub log_tag: Option<String>,
    /// Mounts, as for `--mount` and `--volume`.
    pub mounts: List<Mount>,
    /// Networks: which is the usual one, and their addresses.
    pub network: NetworkDefaults,
    /// Network.
    pub netns: Option<NetworkMode>,
    /// Whether the image's /etc/hosts stays.
    pub no_hosts: Option<bool>,
    /// Value for /proc/self/oom_score_adj.
    pub oom_score_adj: Option<i32>,
    /// Process namespace.
    pub pidns: Option<NamespaceMode>,
    /// Most processes; 0 for no limit.
    pub pids_limit: Option<i64>,
    /// Whether nearly all isolation of privileges is off.
    pub privileged: Option<bool>,
    /// When images are pulled, as for `--pull`.
    pub pull_policy: Option<String>,
    /// Whether root file systems are read-only.
    pub read_only: Option<bool>,
    /// System call filter.
    pub seccomp_profile: Option<PathBuf>,
    /// Bytes of /dev/shm.
    pub shm_size: Option<u64>,
    /// Seconds between the stop signal and KILL.
    pub stop_timeout: Option<u32>,
    /// Kernel parameters.
    pub sysctls: List<(String, String)>,
    /// Time zone.
    pub time_zone: Option<String>,
    /// Rlimits.
    pub ulimits: List<Ulimit>,
    /// Permission bits that new files do not get.
    pub umask: Option<u32>,
    /// Users.
    pub userns: Option<UsernsMode>,
    /// Host name namespace.
    pub utsns: Option<NamespaceMode>,
    /// Binds, as for `--volume`.
    pub volumes: List<Mount>,
}

/// A list that a later file replaces, unless one has said that it is to be added to.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T> {
    items: Option<Vec<T>>,
    append: Option<bool>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: None, append: None }
    }
}

impl<T> List<T> {
    /// Returns what is in it.
    pub fn all(&self) -> &[T] {
        self.items.as_deref().unwrap_or_default()
    }

    /// Returns what is in it; `None` if no file has it.
    pub fn said(&self) -> Option<&[T]> {
        self.items.as_deref()
    }

    fn overlay(&mut self, later: Self) {
        self.append = later.append.or(self.append);
        match (&mut self.items, later.items) {
            (_, None) => {}
            (Some(items), Some(more)) if self.append == Some(true) => items.extend(more),
            (items, more) => *items = more,
        }
    }
}

impl Defaults {
    /// Puts what a later file says over this.
    pub fn overlay(&mut self, later: Self) {
        macro_rules! later_wins {
            ($($field:ident)*) => { $( self.$field = later.$field.or(self.$field.take()); )* };
        }
        macro_rules! lists {
            ($($field:ident)*) => { $( self.$field.overlay(later.$field); )* };
        }
        later_wins!(base_hosts_file cgroups cgroupns detach_keys env_host host_ip http_proxy init init_path ipcns);
        later_wins!(log_driver log_size_max log_tag netns no_hosts oom_score_adj pidns pids_limit);
        later_wins!(privileged pull_policy read_only seccomp_profile shm_size stop_timeout);
        later_wins!(time_zone umask userns utsns);
        lists!(annotations cgroup_conf capabilities devices dns_options dns_searches dns_servers);
        lists!(cdi_directories env mounts sysctls ulimits volumes);
        self.network.overlay(later.network);
    }

    /// Leaves out what distributions ship as Podman's taste, and no administrator has chosen: it
    /// takes capabilities away that Docker's users count on.
    #[must_use]
    pub fn of_vendor(self) -> Self {
        Self {
            capabilities: List::default(),
            sysctls: List::default(),
            seccomp_profile: None,
            ..self
        }
    }
}
