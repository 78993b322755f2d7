//! `update` and `events`: other limits for a container that runs, and what it uses.

use std::time::Duration;

use oci_spec::runtime::LinuxResources;

use super::delete::ends;
use super::{Runtime, Status, conflict, group_of};
use crate::error::{Context, Result};
use crate::runtime::cgroup::{Hierarchies, Stats};
use crate::sys::process;

impl Runtime {
    /// Changes limits of a container; returns warnings about those that cannot be applied here.
    pub fn update(&self, id: &str, resources: &LinuxResources) -> Result<Vec<String>> {
        let record = self.bundles.get(id)?;
        if self.is(&record, &[Status::Stopped])? {
            return Err(conflict("container not running"));
        }
        group_of(&record)?.update(&Hierarchies::detect()?, &record.cgroup, resources)
    }

    /// Returns what a container uses, and how often the kernel has ended something in it for lack of
    /// memory; `None` once it has ended.
    pub fn usage(&self, id: &str) -> Result<Option<(Stats, u64)>> {
        let record = self.bundles.get(id)?;
        if self.is(&record, &[Status::Stopped])? {
            return Ok(None);
        }
        let group = group_of(&record)?;
        Ok(Some((group.stats(), group.oom_kills().unwrap_or(0))))
    }

    /// Waits for the end of a container; `false` if it has not come in time.
    pub fn ends_within(&self, id: &str, limit: Duration) -> Result<bool> {
        let record = self.bundles.get(id)?;
        let process = process::open(record.pid, record.start_time)
            .context(|| format!("cannot find the process of container {id}"))?;
        process.map_or(Ok(true), |process| ends(&process, limit))
    }
}
