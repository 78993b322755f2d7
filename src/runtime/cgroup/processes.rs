//! All processes of a group: listing, freezing, killing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

use super::{Cgroup, has, write};
use crate::error::{Context, Error, Kind, Result};

/// How long processes may take to freeze; one in the middle of a disk access waits for that.
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks where the kernel sends no event.
const PAUSE: Duration = Duration::from_millis(1);

impl Cgroup {
    /// Returns the processes in the group and the groups below it, in the order of their numbers.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let Some(handle) = self.handle() else { return Ok(Vec::new()) };
        let mut found = BTreeSet::new();
        collect(&handle.path, &mut found)
            .context(|| format!("cannot list the processes of {}", handle.path.display()))?;
        Ok(found.into_iter().collect())
    }

    /// Stops all processes until [`thaw`](Self::thaw); returns when they stand still.
    pub fn freeze(&self) -> Result<()> {
        self.set_frozen(true)
    }

    /// Tells whether all processes stand still.
    pub fn is_frozen(&self) -> bool {
        let freezer = self.v1.iter().find(|directory| has(directory, "freezer"));
        let (file, frozen) = match (&self.v2, freezer) {
            (Some(v2), _) => (v2.path.join("cgroup.freeze"), "1"),
            (None, Some(v1)) => (v1.path.join("freezer.state"), "FROZEN"),
            (None, None) => return false,
        };
        fs::read_to_string(file).is_ok_and(|text| text.trim() == frozen)
    }

    /// Lets all processes go on.
    pub fn thaw(&self) -> Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let verb = if frozen { "freeze" } else { "thaw" };
        let deadline = Instant::now() + FREEZE_DEADLINE;
        let freezer = self.v1.iter().find(|directory| has(directory, "freezer"));
        let (dir, done) = match (&self.v2, freezer) {
            (Some(v2), _) => (&v2.path, freeze_v2(&v2.path, frozen, deadline)),
            (None, Some(v1)) => (&v1.path, freeze_v1(&v1.path, frozen, deadline)),
            (None, None) => {
                let message = format!("cannot {verb}: the container has no control group");
                return Err(Error::new(Kind::Unsupported, message)
                    .hint("without root, a version 2 control group that was delegated to you is needed: see `barge system check`"));
            }
        };
        let done = match done {
            // What went on has ended at once, and its group has been removed.
            Err(error) if !frozen && is_gone(&error) => Ok(true),
            other => other,
        };
        if done.context(|| format!("cannot {verb} {}", dir.display()))? {
            return Ok(());
        }
        let message = format!("cannot {verb} {}: its processes do not stop in time", dir.display());
        Err(Error::new(Kind::Unavailable, message))
    }

    /// Sends a signal to all processes of the group, those that are being forked included.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        let Some(handle) = self.handle() else { return Ok(()) };
        if signal == libc::SIGKILL && self.v2.is_some() {
            match write(&handle.path.join("cgroup.kill"), "1") {
                Ok(()) => return Ok(()),
                // Linux below 5.14, or the group is gone and the list will say so.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).context(|| format!("cannot kill {}", handle.path.display()));
                }
            }
        }
        if self.processes()?.is_empty() {
            return Ok(());
        }
        // Nobody forks while frozen. Where freezing fails, killing is worth the try all the same.
        let frozen = self.freeze().is_ok();
        let result = self.signal_each(signal);
        if frozen {
            self.thaw()?;
        }
        result
    }

    /// Kills all processes of the group and waits until they are gone.
    pub fn end_all(&self) -> Result<()> {
        let deadline = Instant::now() + super::REMOVE_DEADLINE;
        while !self.processes()?.is_empty() {
            if Instant::now() >= deadline {
                let message = "the processes of a control group do not end in time";
                return Err(Error::new(Kind::Unavailable, message));
            }
            self.kill_all(libc::SIGKILL)?;
            self.wait_until_empty(deadline)?;
        }
        Ok(())
    }

    fn signal_each(&self, signal: i32) -> Result<()> {
        let own = rustix::process::getpid();
        for process in self.processes()? {
            let Some(pid) = Pid::from_raw(process).filter(|pid| *pid != own) else { continue };
            let sent = rustix::process::pidfd_open(pid, PidfdFlags::empty())
                .map_err(io::Error::from)
                .and_then(|pidfd| crate::sys::process::send_signal(pidfd, signal));
            match sent {
                // It ended by itself.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other.context(|| format!("cannot signal process {process}"))?,
            }
        }
        Ok(())
    }

    /// Waits until all processes that are in the group now have ended.
    pub(super) fn wait_until_empty(&self, deadline: Instant) -> Result<()> {
        let mut waited = false;
        for process in self.processes()? {
            let Some(pid) = Pid::from_raw(process) else { continue };
            // A process that is gone needs no waiting.
            let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
            waited |= wait_for(&pidfd, PollFlags::IN, deadline)
                .context(|| format!("cannot wait for process {process}"))?;
        }
        // Between its end and its leaving the group a process is in no list.
        if !waited {
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Collects the processes of a group and of all groups below.
fn collect(dir: &Path, found: &mut BTreeSet<i32>) -> io::Result<()> {
    let list = match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(list) => list,
        // The group went away, which it cannot do with processes in it.
        Err(error) if is_gone(&error) => return Ok(()),
        // A group of threads: their process is in the list of a group above.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => String::new(),
        Err(error) => return Err(error),
    };
    // Zero is a process that is not visible in our process namespace.
    found.extend(list.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid != 0));
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// Tells whether a group is not there any more.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Freezes or thaws; returns whether that was done in time.
fn freeze_v2(dir: &Path, frozen: bool, deadline: Instant) -> io::Result<bool> {
    let events = File::open(dir.join("cgroup.events"))?;
    let value = if frozen { "1" } else { "0" };
    write(&dir.join("cgroup.freeze"), value)?;
    let wanted = format!("frozen {value}");
    let mut buffer = [0; 256];
    loop {
        let length = events.read_at(&mut buffer, 0)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        if text.lines().any(|line| line == wanted) {
            return Ok(true);
        }
        if !wait_for(&events, PollFlags::PRI, deadline)? {
            // Half frozen is neither; the caller is told that it did not work.
            if frozen {
                write(&dir.join("cgroup.freeze"), "0")?;
            }
            return Ok(false);
        }
    }
}

/// The same for version 1, which sends no events.
fn freeze_v1(dir: &Path, frozen: bool, deadline: Instant) -> io::Result<bool> {
    let file = dir.join("freezer.state");
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    loop {
        // Again and again: a process that was just forked keeps the state at FREEZING until then.
        write(&file, wanted)?;
        if fs::read_to_string(&file)?.trim() == wanted {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            if frozen {
                write(&file, "THAWED")?;
            }
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits for an event; returns whether it came in time.
fn wait_for(fd: impl AsFd, events: PollFlags, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&fd, events)], Some(&timeout)) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
