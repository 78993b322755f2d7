//! Resource limits: memory, CPU, pids, rlimits, and the restart policy.

use serde::{Deserialize, Serialize};

/// What a container may use. `None` means: no limit was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory limit in bytes.
    pub memory: Option<u64>,
    /// Memory plus swap limit in bytes; -1 is unlimited swap.
    pub memory_swap: Option<i64>,
    /// Soft memory limit in bytes.
    pub memory_reservation: Option<u64>,
    /// Processor time in billionths of a processor: 1.5 processors are 1,500,000,000.
    pub nano_cpus: Option<u64>,
    /// Relative weight, 2 to 262144; 1024 is the kernel's default.
    pub cpu_shares: Option<u64>,
    /// Length of a scheduling period in microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds of processor time in a period.
    pub cpu_quota: Option<i64>,
    /// Processors it may run on, as in `0-3,5`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use, as in `0,1`.
    pub cpuset_mems: Option<String>,
    /// Most processes and threads; -1 is unlimited.
    pub pids: Option<i64>,
    /// Bytes of /dev/shm.
    pub shm_size: Option<u64>,
    /// Value for /proc/self/oom_score_adj.
    pub oom_score_adj: Option<i32>,
    /// Whether the kernel's out-of-memory killer is off (cgroup v1 only).
    pub oom_kill_disable: bool,
}

/// One rlimit, as in `nofile=1024:2048`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Name in lower case without `RLIMIT_`, as in `nofile`.
    pub name: String,
    /// The limit that is in force; `u64::MAX` is unlimited.
    pub soft: u64,
    /// What the process may raise the soft limit to; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// Whether and when a container that has exited is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Whenever it exits, unless it was stopped by the user.
    Always,
    /// As `Always`, and not after a reboot if the user had stopped it.
    UnlessStopped,
    /// After a failure.
    OnFailure {
        /// Most restarts in a row; `None` is no bound.
        retries: Option<u32>,
    },
}
