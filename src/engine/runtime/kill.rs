//! `kill`: sends a signal to a container's processes.

use super::{Runtime, Status, conflict, group_of};
use crate::error::{Context, Result};
use crate::spec::process::Signal;
use crate::sys::process;

impl Runtime {
    /// Sends a signal to a container's first process.
    pub fn kill(&self, id: &str, signal: Signal) -> Result<()> {
        let record = self.bundles.get(id)?;
        let context = || format!("cannot send signal {} to container {id}", signal.0);
        let process = process::open(record.pid, record.start_time).context(context)?;
        let sent = match process {
            Some(process) if process::is_running(record.pid, record.start_time) => {
                process::send_signal(process, signal.0)
            }
            _ => return Err(conflict("container not running")),
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                Err(conflict("container not running"))
            }
            Err(error) => Err(error).context(context),
            // Frozen, it would not notice.
            Ok(()) if signal == Signal::KILL && self.is(&record, &[Status::Paused])? => {
                group_of(&record)?.thaw()
            }
            Ok(()) => Ok(()),
        }
    }

    /// Sends a signal to all processes of a container, whether its first one runs or not.
    pub fn kill_all(&self, id: &str, signal: Signal) -> Result<()> {
        let record = self.bundles.get(id)?;
        let group = group_of(&record)?;
        if group.is_none() {
            return self.kill(id, signal);
        }
        group.kill_all(signal.0)
    }
}
