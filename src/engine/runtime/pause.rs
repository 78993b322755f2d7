//! `pause` and `resume`: all processes of a container stand still, and go on.

use super::{Runtime, Status, conflict, group_of};
use crate::error::Result;

impl Runtime {
    /// Freezes all processes of a container.
    pub fn pause(&self, id: &str) -> Result<()> {
        let record = self.bundles.get(id)?;
        if !self.is(&record, &[Status::Running, Status::Created])? {
            let status = self.status(&record)?.word();
            return Err(conflict(format!("container not running or created: {status}")));
        }
        group_of(&record)?.freeze()
    }

    /// Lets all processes of a container go on.
    pub fn resume(&self, id: &str) -> Result<()> {
        let record = self.bundles.get(id)?;
        if !self.is(&record, &[Status::Paused])? {
            return Err(conflict("container not paused"));
        }
        group_of(&record)?.thaw()
    }
}
