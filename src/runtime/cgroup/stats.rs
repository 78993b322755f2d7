//! What a group uses and has used.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

use super::{Cgroup, has, write};
use crate::error::{Context, Result};

/// What a container uses. `None` is what this machine does not count, or what has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of memory in use, caches included.
    pub memory: Option<u64>,
    /// Bytes of caches among them that can be dropped at once; Docker leaves them out of "usage".
    pub memory_inactive_file: Option<u64>,
    /// Most bytes of memory it may use.
    pub memory_limit: Option<u64>,
    /// Processor time used, in nanoseconds.
    pub cpu: Option<u64>,
    /// Of that, in the programs.
    pub cpu_user: Option<u64>,
    /// Of that, in the kernel.
    pub cpu_system: Option<u64>,
    /// Periods with a quota of processor time that have passed.
    pub periods: Option<u64>,
    /// Of these, those in which the quota was used up.
    pub throttled_periods: Option<u64>,
    /// How long processes stood still for that, in nanoseconds.
    pub throttled: Option<u64>,
    /// Bytes of swap in use.
    pub swap: Option<u64>,
    /// Most bytes of swap it may use.
    pub swap_limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Most processes and threads it may have.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices.
    pub read: Option<u64>,
    /// Bytes written to block devices.
    pub written: Option<u64>,
}

/// What version 1 says for "no limit": the greatest multiple of a page size.
const UNLIMITED: u64 = i64::MAX.unsigned_abs() & !0xffff;

impl Cgroup {
    /// Returns what the container uses now.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        if let Some(v2) = &self.v2 {
            stats_v2(&v2.path, &mut stats);
        }
        let v1 = |controller| self.v1.iter().find(|directory| has(directory, controller));
        if let Some(memory) = v1("memory") {
            let file = |name: &str| memory.path.join(name);
            stats.memory = number(&file("memory.usage_in_bytes"));
            stats.memory_limit =
                number(&file("memory.limit_in_bytes")).filter(|limit| *limit < UNLIMITED);
            let text = text(&file("memory.stat"));
            stats.memory_inactive_file = field(&text, "total_inactive_file");
            // Version 1 counts and limits both together.
            let both = number(&file("memory.memsw.usage_in_bytes"));
            stats.swap = both.map(|both| both.saturating_sub(stats.memory.unwrap_or(0)));
            let limit = number(&file("memory.memsw.limit_in_bytes"));
            let limit = limit.filter(|limit| *limit < UNLIMITED).zip(stats.memory_limit);
            stats.swap_limit = limit.map(|(both, memory)| both.saturating_sub(memory));
        }
        if let Some(cpu) = v1("cpu") {
            let text = text(&cpu.path.join("cpu.stat"));
            stats.periods = field(&text, "nr_periods");
            stats.throttled_periods = field(&text, "nr_throttled");
            stats.throttled = field(&text, "throttled_time");
        }
        if let Some(cpu) = v1("cpuacct") {
            stats.cpu = number(&cpu.path.join("cpuacct.usage"));
            stats.cpu_user = number(&cpu.path.join("cpuacct.usage_user"));
            stats.cpu_system = number(&cpu.path.join("cpuacct.usage_sys"));
        }
        if let Some(pids) = v1("pids") {
            stats.pids = number(&pids.path.join("pids.current"));
            stats.pids_limit = number(&pids.path.join("pids.max"));
        }
        if let Some(io) = v1("blkio") {
            let text = text(&io.path.join("blkio.throttle.io_service_bytes_recursive"));
            stats.read = Some(sum(&text, "Read"));
            stats.written = Some(sum(&text, "Write"));
        }
        stats
    }

    /// Returns how often the kernel has killed a process of the group for lack of memory.
    pub fn oom_kills(&self) -> Result<u64> {
        let v1 = self.v1.iter().find(|directory| has(directory, "memory"));
        let file = match (v1, &self.v2) {
            (Some(v1), _) => v1.path.join("memory.oom_control"),
            (None, Some(v2)) => v2.path.join("memory.events"),
            (None, None) => return Ok(0),
        };
        match fs::read_to_string(&file) {
            Ok(text) => Ok(field(&text, "oom_kill").unwrap_or(0)),
            // Without the controller nothing is limited, and nothing killed for it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error).context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Returns what becomes readable each time that [`oom_kills`](Self::oom_kills) may have grown; `None`
    /// where the kernel does not tell.
    pub fn oom_watch(&self) -> Option<OwnedFd> {
        let v1 = self.v1.iter().find(|directory| has(directory, "memory"));
        match (v1, &self.v2) {
            (Some(v1), _) => {
                let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
                let control = File::open(v1.path.join("memory.oom_control")).ok()?;
                let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
                write(&v1.path.join("cgroup.event_control"), &line).ok()?;
                Some(event)
            }
            (None, Some(v2)) => {
                use inotify::{CreateFlags, WatchFlags};
                let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
                let file = v2.path.join("memory.events");
                inotify::add_watch(&watch, &file, WatchFlags::MODIFY).ok()?;
                Some(watch)
            }
            (None, None) => None,
        }
    }
}

fn stats_v2(dir: &Path, stats: &mut Stats) {
    stats.memory = number(&dir.join("memory.current"));
    stats.memory_limit = number(&dir.join("memory.max"));
    stats.memory_inactive_file = field(&text(&dir.join("memory.stat")), "inactive_file");
    let cpu = text(&dir.join("cpu.stat"));
    let nanoseconds = |key| field(&cpu, key).map(|microseconds| microseconds * 1000);
    stats.cpu = nanoseconds("usage_usec");
    stats.cpu_user = nanoseconds("user_usec");
    stats.cpu_system = nanoseconds("system_usec");
    stats.periods = field(&cpu, "nr_periods");
    stats.throttled_periods = field(&cpu, "nr_throttled");
    stats.throttled = nanoseconds("throttled_usec");
    stats.swap = number(&dir.join("memory.swap.current"));
    stats.swap_limit = number(&dir.join("memory.swap.max"));
    stats.pids = number(&dir.join("pids.current"));
    stats.pids_limit = number(&dir.join("pids.max"));
    if let Ok(io) = fs::read_to_string(dir.join("io.stat")) {
        stats.read = Some(keyed_sum(&io, "rbytes="));
        stats.written = Some(keyed_sum(&io, "wbytes="));
    }
}

/// Reads a file; what cannot be read is what is not counted.
fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// Reads a number; `max` is none.
fn number(file: &Path) -> Option<u64> {
    text(file).trim().parse().ok()
}

/// Returns the number after a key, in lines of `key number`.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Adds up the last numbers of lines like `8:0 Read 4096`.
fn sum(text: &str, operation: &str) -> u64 {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            (words.next()? == operation).then_some(())?;
            words.next()?.parse::<u64>().ok()
        })
        .sum()
}

/// Adds up the numbers after a key in lines like `8:0 rbytes=4096 wbytes=0`.
fn keyed_sum(text: &str, key: &str) -> u64 {
    text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_tables() {
        let events = "low 0\nhigh 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(field(events, "oom_kill"), Some(2));
        assert_eq!(field(events, "oom_kil"), None);
        let blkio = "8:0 Read 100\n8:0 Write 7\n8:16 Read 11\n8:16 Total 18\nTotal 118\n";
        assert_eq!((sum(blkio, "Read"), sum(blkio, "Write")), (111, 7));
        let io = "8:0 rbytes=5 wbytes=6 rios=1\n8:16 rbytes=10 wbytes=0\n";
        assert_eq!((keyed_sum(io, "rbytes="), keyed_sum(io, "wbytes=")), (15, 6));
        assert_eq!((sum("", "Read"), keyed_sum("8:0 \n", "rbytes=")), (0, 0));
    }
}
