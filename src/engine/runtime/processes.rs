//! `ps`: the processes of a container, as this machine sees them.

use super::{Runtime, Status, conflict};
use crate::engine::processes::{Processes, members};
use crate::error::Result;

impl Runtime {
    /// Returns the numbers of a container's processes.
    pub fn pids(&self, id: &str) -> Result<Vec<i32>> {
        let record = self.bundles.get(id)?;
        if self.is(&record, &[Status::Stopped])? {
            return Err(conflict("container is stopped"));
        }
        members(record.pid, &record.cgroup, true)
    }

    /// Returns a container's processes.
    pub fn processes(&self, id: &str) -> Result<Processes> {
        self.pids(id).map(|pids| Processes::on_machine(&pids))
    }
}
