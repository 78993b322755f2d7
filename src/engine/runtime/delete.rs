//! `delete`: clears what is left of a container.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Runtime, Status, conflict, group_of};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::Bundle;
use crate::store::bundle::Record;
use crate::sys::process;

/// How long a process that was killed may take to end.
const DEADLINE: Duration = Duration::from_secs(10);

impl Runtime {
    /// Deletes a container that has ended, or was never started; by force, any.
    pub fn delete(&self, id: &str, force: bool) -> Result<()> {
        let locked = match self.bundles.lock(id) {
            Err(error) if force && error.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        let Some(record) = locked.record()? else {
            // Who was about to make it was killed: there is no process yet, or none any more.
            if force {
                return locked.remove();
            }
            return Err(Error::new(Kind::NotFound, "container does not exist")
                .hint("its making was cut off; delete it by force"));
        };
        match self.status(&record)? {
            Status::Stopped => {}
            Status::Created => end(&record)?,
            _ if force => end(&record)?,
            status => {
                return Err(conflict(format!(
                    "cannot delete container {id} that is not stopped: {}",
                    status.word()
                )));
            }
        }
        // Processes that have outlived the first one end here.
        let group = group_of(&record)?;
        // Where there was never a process of this container, what runs is somebody else's.
        if record.pid != 0 || group.processes()?.is_empty() {
            self.remove_group(&group, record.unit.as_deref(), record.rootless)?;
        }
        let spec = self.bundles.spec(id);
        locked.remove()?;
        if let Ok(spec) = spec
            && let Some(hooks) = spec.hooks()
        {
            let annotations = spec.annotations().as_ref();
            let told = Bundle { id, directory: &record.bundle, annotations };
            told.run("poststop", hooks.poststop().as_deref(), "stopped", 0)?;
        }
        Ok(())
    }
}

/// Kills a container's first process and waits for its end.
fn end(record: &Record) -> Result<()> {
    let context = || format!("cannot kill the process of container {}", record.id);
    let Some(process) = process::open(record.pid, record.start_time).context(context)? else {
        return Ok(());
    };
    match process::send_signal(&process, libc::SIGKILL) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            return Err(error).context(context);
        }
        _ => {}
    }
    let group = group_of(record)?;
    if group.is_frozen() {
        group.thaw()?;
    }
    if ends(&process, DEADLINE)? {
        return Ok(());
    }
    Err(Error::new(Kind::Unavailable, format!("{}: it does not end", context())))
}

/// Waits for the end of a process; `false` if it has not come in time.
fn ends(process: &OwnedFd, limit: Duration) -> Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.context(|| "cannot wait for a process")? > 0),
        }
    }
}
