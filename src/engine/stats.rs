//! `stats`: what running containers use.

use std::fs;
use std::time::Instant;

use super::processes::members;
use super::{Engine, now};
use crate::error::Result;
use crate::runtime::cgroup::{Cgroup, Hierarchies, Stats};
use crate::spec::network::NetworkMode;
use crate::store::container::{Container, Run};

/// What a container has used until some moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The container.
    pub container: Container,
    /// When this was so.
    pub taken: Instant,
    /// The same in nanoseconds since 1970.
    pub at: i64,
    /// What was counted; of one that does not run, nothing.
    pub used: Stats,
    /// Processor time of the whole machine in nanoseconds.
    pub system: u64,
    /// How many processors the machine has.
    pub processors: usize,
    /// Bytes of memory that it may have.
    pub memory_limit: u64,
    /// What went over the interfaces of its own network.
    pub interfaces: Vec<Traffic>,
}

/// What went over an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Name of the interface in the container.
    pub interface: String,
    /// What was received.
    pub received: Counted,
    /// What was sent.
    pub sent: Counted,
}

/// What was counted in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets with errors.
    pub errors: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

impl Sample {
    /// Returns the processor time that was used, in nanoseconds.
    pub fn cpu(&self) -> u64 {
        self.used.cpu.unwrap_or(0)
    }

    /// Returns bytes of memory in use, without caches that can be dropped at once, as Docker's command line
    /// shows it.
    pub fn memory(&self) -> u64 {
        let caches = self.used.memory_inactive_file().unwrap_or(0);
        self.used.memory.unwrap_or(0).saturating_sub(caches)
    }

    /// Returns bytes received and sent over its own network.
    pub fn network(&self) -> (u64, u64) {
        let all = self.interfaces.iter();
        all.fold((0, 0), |sum, it| (sum.0 + it.received.bytes, sum.1 + it.sent.bytes))
    }

    /// Returns percents of one processor since an earlier sample.
    pub fn cpu_since(&self, earlier: &Self) -> f64 {
        let wall = self.taken.duration_since(earlier.taken).as_nanos() as f64;
        if wall == 0.0 {
            0.0
        } else {
            self.cpu().saturating_sub(earlier.cpu()) as f64 / wall * 100.0
        }
    }

    /// Returns percents of the memory that it may have.
    pub fn memory_percent(&self) -> f64 {
        match self.memory_limit {
            0 => 0.0,
            limit => self.memory() as f64 / limit as f64 * 100.0,
        }
    }
}

impl Engine {
    /// Returns what a container has used; nothing was, by one that does not run.
    pub fn sample(&self, container: Container) -> Result<Sample> {
        let mut sample = Sample {
            taken: Instant::now(),
            at: now(),
            used: Stats::default(),
            system: 0,
            processors: 0,
            memory_limit: 0,
            interfaces: Vec::new(),
            container,
        };
        if let Some(run) = sample.container.state.run().cloned() {
            let cgroup = Cgroup::open(&Hierarchies::detect()?, &run.cgroup)?;
            let settings = &sample.container.config.settings;
            if settings.network != NetworkMode::Host {
                sample.interfaces = traffic(&run);
            }
            let mut stats = cgroup.stats();
            if stats.cpu.is_none() || stats.memory.is_none() || stats.pids.is_none() {
                // Nobody counts for us: what the processes have is the best that can be said.
                let had = by_processes(&run, settings.namespaces.pid.is_own())?;
                stats.cpu = stats.cpu.or(had.cpu);
                stats.memory = stats.memory.or(had.memory);
                stats.pids = stats.pids.or(had.pids);
            }
            sample.fill(stats);
        }
        Ok(sample)
    }
}

impl Sample {
    fn fill(&mut self, stats: Stats) {
        let all = total_memory();
        self.taken = Instant::now();
        self.at = now();
        (self.system, self.processors) = machine();
        self.memory_limit = stats.memory_limit.unwrap_or(all).min(all);
        self.used = stats;
    }
}

/// Returns the processor time that the machine has spent, waiting for disks and for nothing included, in
/// nanoseconds, and how many processors it has.
fn machine() -> (u64, usize) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut lines = text.lines();
    // Of guests it is in the first numbers already.
    let times = lines.next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
    let processors = lines.take_while(|line| line.starts_with("cpu")).count();
    (ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second()), processors)
}

/// Adds up what the processes of a container without a control group have.
fn by_processes(run: &Run, own_processes: bool) -> Result<Stats> {
    let mut stats = Stats { cpu: Some(0), memory: Some(0), pids: Some(0), ..Stats::default() };
    let second = rustix::param::clock_ticks_per_second();
    let page = rustix::param::page_size() as u64;
    for pid in members(run.pid, &run.cgroup, own_processes)? {
        // One that has ended meanwhile has nothing.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields: Vec<&str> =
            text.rfind(')').map_or("", |end| &text[end + 1..]).split_whitespace().collect();
        let number = |place: usize| fields.get(place).and_then(|it| it.parse::<u64>().ok());
        let ticks = number(11).unwrap_or(0) + number(12).unwrap_or(0);
        stats.cpu = stats.cpu.map(|cpu| cpu + ticks * 1_000_000_000 / second);
        stats.memory = stats.memory.map(|bytes| bytes + number(21).unwrap_or(0) * page);
        stats.pids = stats.pids.map(|count| count + number(17).unwrap_or(1));
    }
    Ok(stats)
}

/// Returns what went over all interfaces but the loopback.
fn traffic(run: &Run) -> Vec<Traffic> {
    let text = fs::read_to_string(format!("/proc/{}/net/dev", run.pid)).unwrap_or_default();
    counted_traffic(&text)
}

fn counted_traffic(text: &str) -> Vec<Traffic> {
    let of_interface = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> =
            counters.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        let direction = |first: usize| match counters.get(first..)? {
            [bytes, packets, errors, dropped, ..] => {
                let (bytes, packets, errors, dropped) = (*bytes, *packets, *errors, *dropped);
                Some(Counted { bytes, packets, errors, dropped })
            }
            _ => None,
        };
        let interface = name.trim().to_owned();
        let (received, sent) = (direction(0)?, direction(8)?);
        (interface != "lo").then_some(Traffic { interface, received, sent })
    };
    text.lines().filter_map(of_interface).collect()
}

fn total_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_traffic_of_all_interfaces_but_the_loopback() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo:    1000      10    0    0    0     0          0         0     1000      10    0
  eth0:    2000      20    0    0    0     0          0         0      300       3    0    0    0    0
  eth1:5 1 0 0 0 0 0 0 7 1 2 3 0 0 0 0
";
        let counted = |bytes, packets| Counted { bytes, packets, errors: 0, dropped: 0 };
        let all = counted_traffic(text);
        let all: Vec<_> =
            all.iter().map(|it| (it.interface.as_str(), it.received, it.sent)).collect();
        assert_eq!(
            all,
            [
                ("eth0", counted(2000, 20), counted(300, 3)),
                ("eth1", counted(5, 1), Counted { errors: 2, dropped: 3, ..counted(7, 1) }),
            ]
        );
    }
}
