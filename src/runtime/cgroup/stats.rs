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
    /// Most bytes of memory that were in use at once.
    pub memory_peak: Option<u64>,
    /// How often there was no more memory to be had; version 1 alone counts that.
    pub memory_failures: Option<u64>,
    /// What the memory is used for, by the kernel's names, which differ between the versions.
    pub memory_parts: Vec<(String, u64)>,
    /// Most bytes of memory it may use.
    pub memory_limit: Option<u64>,
    /// Processor time used, in nanoseconds.
    pub cpu: Option<u64>,
    /// Of that, in the programs.
    pub cpu_user: Option<u64>,
    /// Of that, in the kernel.
    pub cpu_system: Option<u64>,
    /// Processor time used of each processor, in nanoseconds; version 1 alone counts that.
    pub cpu_each: Vec<u64>,
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
    /// Bytes that block devices have read and written.
    pub block_bytes: Vec<BlockUse>,
    /// How often they have.
    pub block_operations: Vec<BlockUse>,
}

/// What was done with a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockUse {
    /// Major number of the device.
    pub major: u64,
    /// Minor number of the device.
    pub minor: u64,
    /// What was done: `Read`, `Write` and others in version 1, `read` and `write` in version 2.
    pub operation: String,
    /// How much, or how often.
    pub value: u64,
}

impl Stats {
    /// Returns bytes of caches that can be dropped at once; Docker leaves them out of "usage".
    pub fn memory_inactive_file(&self) -> Option<u64> {
        let part = |wanted: &str| {
            self.memory_parts.iter().find(|(name, _)| name == wanted).map(|(_, bytes)| *bytes)
        };
        // In version 1, the name without `total_` leaves the groups below out.
        part("total_inactive_file").or_else(|| part("inactive_file"))
    }

    /// Returns bytes read from and written to block devices.
    pub fn blocks(&self) -> (u64, u64) {
        let sum = |operation: &str| {
            let is_it = |it: &&BlockUse| it.operation.eq_ignore_ascii_case(operation);
            self.block_bytes.iter().filter(is_it).map(|it| it.value).sum()
        };
        (sum("read"), sum("write"))
    }
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
            stats.memory_peak = number(&file("memory.max_usage_in_bytes"));
            stats.memory_failures = number(&file("memory.failcnt"));
            stats.memory_parts = parts(&text(&file("memory.stat")));
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
            let each = text(&cpu.path.join("cpuacct.usage_percpu"));
            stats.cpu_each = each.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        }
        if let Some(pids) = v1("pids") {
            stats.pids = number(&pids.path.join("pids.current"));
            stats.pids_limit = number(&pids.path.join("pids.max"));
        }
        if let Some(io) = v1("blkio") {
            let file = |name: &str| text(&io.path.join(name));
            stats.block_bytes = block_uses(&file("blkio.throttle.io_service_bytes_recursive"));
            stats.block_operations = block_uses(&file("blkio.throttle.io_serviced_recursive"));
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
    stats.memory_peak = number(&dir.join("memory.peak"));
    stats.memory_parts = parts(&text(&dir.join("memory.stat")));
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
    let io = text(&dir.join("io.stat"));
    stats.block_bytes = keyed_uses(&io, ["rbytes=", "wbytes="]);
    stats.block_operations = keyed_uses(&io, ["rios=", "wios="]);
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

/// Reads lines of `key number`.
fn parts(text: &str) -> Vec<(String, u64)> {
    let part = |line: &str| {
        let (key, number) = line.split_once(' ')?;
        Some((key.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(part).collect()
}

/// Reads lines of `8:0 Read 4096`; the one without a device is the sum of the others.
fn block_uses(text: &str) -> Vec<BlockUse> {
    let read = |line: &str| {
        let mut words = line.split(' ');
        let (major, minor) = device(words.next()?)?;
        let operation = words.next()?.to_owned();
        Some(BlockUse { major, minor, operation, value: words.next()?.parse().ok()? })
    };
    text.lines().filter_map(read).collect()
}

/// Reads what lines like `8:0 rbytes=4096 wbytes=0` have behind two keys, for reading and writing.
fn keyed_uses(text: &str, keys: [&str; 2]) -> Vec<BlockUse> {
    let mut uses = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        let words: Vec<&str> = words.collect();
        for (key, operation) in keys.iter().zip(["read", "write"]) {
            let value = words.iter().find_map(|word| word.strip_prefix(key)?.parse().ok());
            let operation = operation.to_owned();
            uses.extend(value.map(|value| BlockUse { major, minor, operation, value }));
        }
    }
    uses
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    major.parse().ok().zip(minor.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_tables() {
        let events = "low 0\nhigh 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(field(events, "oom_kill"), Some(2));
        assert_eq!(field(events, "oom_kil"), None);
        let show = |uses: &[BlockUse]| {
            let one =
                |it: &BlockUse| format!("{}:{} {} {}", it.major, it.minor, it.operation, it.value);
            uses.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let blkio = "8:0 Read 100\n8:0 Write 7\n8:16 Read 11\n8:16 Total 18\nTotal 118\n";
        let mut stats = Stats { block_bytes: block_uses(blkio), ..Stats::default() };
        assert_eq!(
            show(&stats.block_bytes),
            "8:0 Read 100, 8:0 Write 7, 8:16 Read 11, 8:16 Total 18"
        );
        assert_eq!(stats.blocks(), (111, 7));
        let io = "8:0 rbytes=5 wbytes=6 rios=1\n8:16 rbytes=10 wbytes=0\n8:32 \n";
        stats.block_bytes = keyed_uses(io, ["rbytes=", "wbytes="]);
        assert_eq!(show(&stats.block_bytes), "8:0 read 5, 8:0 write 6, 8:16 read 10, 8:16 write 0");
        assert_eq!(stats.blocks(), (15, 6));
        assert_eq!(show(&keyed_uses(io, ["rios=", "wios="])), "8:0 read 1");
        for (text, want) in [
            ("cache 1\ninactive_file 2\ntotal_inactive_file 3\nodd\n", Some(3)),
            ("anon 1\ninactive_file 2\n", Some(2)),
            ("", None),
        ] {
            stats.memory_parts = parts(text);
            assert_eq!(stats.memory_inactive_file(), want, "{text}");
        }
    }
}
