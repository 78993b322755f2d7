//! Resource limits: memory, CPU, pids, rlimits, and the restart policy.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::blkio::BlockIo;
use super::size::Size;
use crate::error::{Error, Kind, Result};

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
    /// Length of a period of real-time tasks in microseconds (cgroup v1 only).
    pub cpu_rt_period: Option<u64>,
    /// Microseconds that real-time tasks have in such a period (cgroup v1 only).
    pub cpu_rt_runtime: Option<u64>,
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
    /// How readily its memory is swapped out, 0 to 100 (cgroup v1 only).
    pub swappiness: Option<u64>,
    /// Limits of block devices.
    pub io: BlockIo,
    /// Files of its control group, and what is written to them (cgroup v2 only).
    pub unified: BTreeMap<String, String>,
}

impl Resources {
    /// Returns the limit of memory and swap together in bytes, -1 for no limit: as with Docker twice the
    /// memory, unless the user says otherwise.
    pub fn memory_and_swap(&self) -> Option<i64> {
        let twice = |limit: u64| i64::try_from(limit.saturating_mul(2)).unwrap_or(i64::MAX);
        self.memory_swap.filter(|bytes| *bytes != 0).or(self.memory.map(twice))
    }
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

/// Parses `--cpus`: a number of processors such as `1.5`, as billionths of one.
pub fn parse_cpus(text: &str) -> Result<u64> {
    let invalid = || {
        Error::new(Kind::Invalid, format!("invalid number of processors `{text}`"))
            .hint("write a number, as in 2 or 0.5")
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole)
        || !digits(fraction)
        || fraction.len() > 9
        || whole.len() + fraction.len() == 0
    {
        return Err(invalid());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
    whole
        .checked_mul(1_000_000_000)
        .and_then(|whole| whole.checked_add(fraction))
        .ok_or_else(invalid)
}

/// Parses `--memory-swap`: a size, or -1 for unlimited swap.
pub fn parse_swap(text: &str) -> Result<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    let Size(bytes) = text.parse()?;
    i64::try_from(bytes).map_err(|_| Error::new(Kind::Invalid, format!("invalid size: `{text}`")))
}

/// The name of a limit that stands for all of the caller's own.
pub const HOST_LIMITS: &str = "host";

/// The rlimits of Linux.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl FromStr for Ulimit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == HOST_LIMITS {
            return Ok(Self { name: text.to_owned(), soft: u64::MAX, hard: u64::MAX });
        }
        let invalid = |why: String| {
            Error::new(
                Kind::Invalid,
                format!(
                    "ulimit option \"{text}\" requires name=SOFT:HARD, failed to be parsed: {why}"
                ),
            )
        };
        let (name, values) =
            text.split_once('=').ok_or_else(|| invalid("there is no `=`".to_owned()))?;
        let lower = name.to_ascii_lowercase();
        let lower = lower.strip_prefix("rlimit_").unwrap_or(&lower);
        if !ULIMITS.contains(&lower) {
            return Err(invalid(format!("invalid ulimit type: {name}"))
                .hint(format!("known are {}", ULIMITS.join(", "))));
        }
        let (soft_text, hard_text) = values.split_once(':').unwrap_or((values, values));
        let value = |text: &str| match text {
            "-1" | "unlimited" => Ok(u64::MAX),
            text => text.parse::<u64>().map_err(|_| invalid(format!("`{text}` is not a number"))),
        };
        let (soft, hard) = (value(soft_text)?, value(hard_text)?);
        if soft > hard {
            let shown = |text: &str, value| match value {
                u64::MAX => format!("{text} (unlimited)"),
                _ => text.to_owned(),
            };
            return Err(invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: soft: {}, hard: {}",
                shown(soft_text, soft),
                shown(hard_text, hard)
            )));
        }
        Ok(Self { name: lower.to_owned(), soft, hard })
    }
}

impl FromStr for RestartPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, retries) = match text.split_once(':') {
            Some((name, retries)) => (name, Some(retries)),
            None => (text, None),
        };
        match (name, retries) {
            ("" | "no" | "never", None) => Ok(Self::No),
            ("always", None) => Ok(Self::Always),
            ("unless-stopped", None) => Ok(Self::UnlessStopped),
            ("on-failure", None) => Ok(Self::OnFailure { retries: None }),
            ("on-failure", Some(count)) => match count.parse() {
                // As in Docker, none at most means no bound.
                Ok(0) => Ok(Self::OnFailure { retries: None }),
                Ok(count) => Ok(Self::OnFailure { retries: Some(count) }),
                Err(_) => Err(Error::new(
                    Kind::Invalid,
                    format!("restart policy retry count `{count}` is not a number"),
                )),
            },
            ("no" | "never" | "always" | "unless-stopped", Some(_)) => Err(Error::new(
                Kind::Invalid,
                "restart policy retries can only be specified with on-failure restart policy",
            )),
            _ => {
                Err(Error::new(Kind::Invalid, format!("\"{text}\" is not a valid restart policy"))
                    .hint("write no, always, unless-stopped or on-failure[:RETRIES]"))
            }
        }
    }
}

impl RestartPolicy {
    /// Returns its name without the number of retries.
    pub fn name(&self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure { .. } => "on-failure",
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::OnFailure { retries: Some(retries) } => write!(f, ":{retries}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_processors_and_swap() {
        for (text, want) in [
            ("1", Some(1_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            (".5", Some(500_000_000)),
            (".", None),
            ("2.", Some(2_000_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000001", None),
            ("", None),
            ("-1", None),
            ("1e3", None),
            ("99999999999999", None),
        ] {
            assert_eq!(parse_cpus(text).ok(), want, "{text}");
        }
        for (text, want) in
            [("-1", Some(-1)), ("1g", Some(1 << 30)), ("-2", None), ("9999999p", None)]
        {
            assert_eq!(parse_swap(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn parses_ulimits() {
        for (text, want) in [
            ("nofile=1024:2048", Some(("nofile", 1024, 2048))),
            ("nofile=1024", Some(("nofile", 1024, 1024))),
            ("RLIMIT_CORE=0:-1", Some(("core", 0, u64::MAX))),
            ("core=unlimited", Some(("core", u64::MAX, u64::MAX))),
            ("nofile", None),
            ("files=1", None),
            ("nofile=x", None),
            ("nofile=2:1", None),
            ("nofile=-2", None),
            ("core=-1:1000", None),
            ("nofile=1:2:3", None),
        ] {
            let want = want.map(|(name, soft, hard)| Ulimit { name: name.into(), soft, hard });
            assert_eq!(text.parse().ok(), want, "{text}");
        }
        assert_eq!(
            "core=-1:1000".parse::<Ulimit>().unwrap_err().to_string(),
            "ulimit option \"core=-1:1000\" requires name=SOFT:HARD, failed to be parsed: ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 1000"
        );
    }

    #[test]
    fn parses_restart_policies() {
        for (text, want) in [
            ("no", Some("no")),
            ("", Some("no")),
            ("always", Some("always")),
            ("unless-stopped", Some("unless-stopped")),
            ("on-failure", Some("on-failure")),
            ("on-failure:3", Some("on-failure:3")),
            ("on-failure:0", Some("on-failure")),
            ("on-failure:x", None),
            ("on-failure:-1", None),
            ("always:3", None),
            ("sometimes", None),
        ] {
            let got = text.parse::<RestartPolicy>().ok().map(|policy| policy.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
