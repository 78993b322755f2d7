//! `update` and `events`: other limits for a container that runs, and what it uses.

use std::os::fd::OwnedFd;
use std::time::Instant;

use oci_spec::runtime::LinuxResources;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Runtime, Status, conflict, group_of};
use crate::error::{Context, Result};
use crate::runtime::cgroup::systemd::Unit;
use crate::runtime::cgroup::{Hierarchies, Stats};
use crate::sys::process;

impl Runtime {
    /// Changes limits of a container; returns warnings about those that cannot be applied here.
    pub fn update(&self, id: &str, resources: &LinuxResources) -> Result<Vec<String>> {
        let record = self.bundles.get(id)?;
        if self.is(&record, &[Status::Stopped])? {
            return Err(conflict("container not running"));
        }
        let hierarchies = Hierarchies::detect()?;
        if let Some(unit) = &record.unit {
            Unit::named(unit, self.bus(record.rootless)).update(&hierarchies, resources)?;
        }
        group_of(&record)?.update(&hierarchies, &record.cgroup, resources)
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

    /// Begins to watch a container that runs; `None` once it has ended.
    pub fn watch(&self, id: &str) -> Result<Option<Watch>> {
        let record = self.bundles.get(id)?;
        let process = process::open(record.pid, record.start_time)
            .context(|| format!("cannot find the process of container {id}"))?;
        let Some(process) = process else { return Ok(None) };
        Ok(Some(Watch { process, kills: group_of(&record)?.oom_watch() }))
    }
}

/// What tells of a container's end, and of processes of it that the kernel has ended for lack of memory.
#[derive(Debug)]
pub struct Watch {
    process: OwnedFd,
    kills: Option<OwnedFd>,
}

/// Why a wait for a container was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It has ended.
    Ended,
    /// The kernel may have ended a process of it for lack of memory.
    Killed,
    /// The time is over.
    Late,
}

impl Watch {
    /// Waits for something to happen until a moment.
    pub fn until(&self, deadline: Instant) -> Result<Woken> {
        let kills = self.kills.as_ref();
        let mut files = vec![PollFd::new(&self.process, PollFlags::IN)];
        files.extend(kills.map(|kills| PollFd::new(kills, PollFlags::IN)));
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match rustix::io::retry_on_intr(|| poll(&mut files, Some(&left))) {
            Ok(0) => return Ok(Woken::Late),
            other => other.context(|| "cannot wait for a container")?,
        };
        if !files[0].revents().is_empty() {
            return Ok(Woken::Ended);
        }
        if let Some(kills) = kills {
            // What came is told by the group itself; here it is only to be taken away.
            let mut buffer = [0; 4096];
            while rustix::io::read(kills, &mut buffer).is_ok_and(|length| length > 0) {}
        }
        Ok(Woken::Killed)
    }
}
