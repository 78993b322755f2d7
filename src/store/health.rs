//! The health of containers, as the last probes found it.
//!
//! Only a container's monitor writes it, so no lock is needed; a reboot voids it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::Containers;
use super::file;
use crate::error::Result;
use crate::spec::id::ContainerId;
use crate::spec::time;

/// How a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthState {
    /// What the probes say, all in all.
    pub status: HealthStatus,
    /// How many probes in a row have failed.
    pub failing_streak: u32,
    /// The last probes, the oldest first.
    pub log: Vec<Probed>,
}

/// What probes say, all in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It is too early to tell.
    #[default]
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// Too many probes in a row have failed.
    Unhealthy,
}

/// A probe that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// When it began, in nanoseconds since 1970.
    pub start: i64,
    /// When it ended, in nanoseconds since 1970.
    pub end: i64,
    /// 0 is success; -1 that it took too long.
    pub exit_code: i32,
    /// The beginning of what it wrote.
    pub output: String,
}

impl HealthStatus {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Containers<'_> {
    fn health_path(&self, id: &ContainerId) -> PathBuf {
        self.run_dir(id).join("health.json")
    }

    /// Reads how a container is; `None` if nobody has looked since the machine started.
    pub fn health(&self, id: &ContainerId) -> Result<Option<HealthState>> {
        file::read_json(&self.health_path(id))
    }

    /// Writes how a container is to a directory of the user's, as Podman does.
    pub fn copy_health(&self, id: &ContainerId, state: &HealthState, dir: &Path) -> Result<()> {
        let time = time::rfc3339_short;
        let log: Vec<_> = state
            .log
            .iter()
            .map(|probe| {
                serde_json::json!({
                    "Start": time(probe.start),
                    "End": time(probe.end),
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                })
            })
            .collect();
        let document = serde_json::json!({
            "Status": state.status.as_str(),
            "FailingStreak": state.failing_streak,
            "Log": log,
        });
        let path = dir.join(format!("{id}-healthcheck.log"));
        file::write_json_volatile(&path, &document)
    }

    /// Records how a container is. Only its monitor may.
    pub fn set_health(&self, id: &ContainerId, state: &HealthState) -> Result<()> {
        file::write_json_volatile(&self.health_path(id), state)
    }
}
