//! `barge runtime events`

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::runtime::Woken;
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::cgroup::{BlockUse, Stats};
use crate::spec::duration;

/// The kernel tells that it is about to end a process before it has done so and counted it: so often it
/// is looked whether it has, and so long at most.
const PAUSE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(5);

/// Show what a container uses, and when it runs out of memory
///
/// A line of JSON at each interval, and one each time the kernel has ended a process of it for lack of
/// memory, until the container ends.
#[derive(Args, Debug)]
pub(super) struct Events {
    /// Time between two looks
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = interval)]
    interval: Duration,
    /// Show what it uses now and do nothing else
    #[arg(long)]
    stats: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Act for Events {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let runtime = world.containers()?;
        // What happens after the first look is seen.
        let watch = if self.stats { None } else { runtime.watch(&self.id)? };
        let Some((stats, mut kills)) = runtime.usage(&self.id)? else {
            let text = format!("container with id {} is not running", self.id);
            return Err(Error::new(Kind::Conflict, text));
        };
        self.tell(world, "stats", document(&stats))?;
        let Some(watch) = watch else { return Ok(Status::SUCCESS) };
        let mut next = Instant::now() + self.interval;
        let mut expects_until = Instant::now();
        loop {
            let now = Instant::now();
            let soon = if now < expects_until { now + PAUSE } else { next };
            let woken = watch.until(soon.min(next))?;
            if woken == Woken::Ended {
                return Ok(Status::SUCCESS);
            }
            let Some((stats, counted)) = runtime.usage(&self.id)? else {
                return Ok(Status::SUCCESS);
            };
            if woken == Woken::Killed {
                expects_until = Instant::now() + PATIENCE;
            }
            for _ in kills..counted {
                self.tell(world, "oom", Value::Null)?;
                expects_until = Instant::now();
            }
            kills = counted;
            if Instant::now() >= next {
                self.tell(world, "stats", document(&stats))?;
                next = Instant::now() + self.interval;
            }
        }
    }
}

impl Events {
    fn tell(&self, world: &mut World, kind: &str, data: Value) -> Result<()> {
        let mut event = json!({"type": kind, "id": self.id});
        if !data.is_null() {
            event["data"] = data;
        }
        let text = serde_json::to_string(&event).context(|| "cannot encode an event")?;
        world.out.line(&text)?;
        world.out.flush()
    }
}

/// Reads a time that is longer than nothing.
fn interval(text: &str) -> Result<Duration> {
    let parsed = duration::parse(text)?;
    match parsed.is_zero() {
        true => Err(Error::new(Kind::Invalid, "duration interval must be greater than 0")),
        false => Ok(parsed),
    }
}

/// What is used, in the form that runc has made up. What this machine does not count is zero.
fn document(stats: &Stats) -> Value {
    let number = |value: Option<u64>| value.unwrap_or(0);
    let both = stats.memory_limit.zip(stats.swap_limit);
    let both = both.map(|(memory, swap)| memory.saturating_add(swap));
    let blocks = |uses: &[BlockUse]| -> Vec<Value> {
        let one = |it: &BlockUse| json!({"major": it.major, "minor": it.minor, "op": it.operation, "value": it.value});
        uses.iter().map(one).collect()
    };
    let parts = stats.memory_parts.iter().map(|(name, bytes)| (name.clone(), json!(bytes)));
    json!({
        "cpu": {
            "usage": {
                "total": number(stats.cpu),
                "percpu": stats.cpu_each,
                "kernel": number(stats.cpu_system),
                "user": number(stats.cpu_user),
            },
            "throttling": {
                "periods": number(stats.periods),
                "throttledPeriods": number(stats.throttled_periods),
                "throttledTime": number(stats.throttled),
            },
        },
        "memory": {
            "usage": {
                "usage": number(stats.memory),
                "max": number(stats.memory_peak),
                "failcnt": number(stats.memory_failures),
                // As version 1 says that there is none.
                "limit": stats.memory_limit.unwrap_or(u64::MAX),
            },
            "swap": {
                // Of both together, as version 1 counts.
                "usage": number(stats.memory) + number(stats.swap),
                "limit": both.unwrap_or(u64::MAX),
            },
            "raw": parts.collect::<Map<_, _>>(),
        },
        "pids": {"current": number(stats.pids), "limit": number(stats.pids_limit)},
        "blkio": {
            "ioServiceBytesRecursive": blocks(&stats.block_bytes),
            "ioServicedRecursive": blocks(&stats.block_operations),
        },
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": null,
    })
}
