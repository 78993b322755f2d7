//! `stats` on other hosts: rows of what two of their samples say.

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{CLEAR, COLUMNS, ONCE, SPARE, Stats};
use crate::cmd::World;
use crate::cmd::answers::{self, bytes, text};
use crate::cmd::containers::Selection;
use crate::cmd::exit::Status;
use crate::cmd::listing::{self, Row};
use crate::error::{Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::duration;
use crate::spec::size::{BinarySize, HumanSize};
use crate::spec::time;

impl Stats {
    /// Does it on another host.
    pub(super) fn show_on(&self, host: &Host, world: &mut World) -> Result<Status> {
        self.check()?;
        let named = match self.latest || !self.containers.is_empty() {
            true => Selection::named(self.containers.clone(), self.latest)
                .chosen_on(host, Vec::new())?,
            false => Vec::new(),
        };
        let mut before = self.look_on(host, &named)?;
        let clears = !self.no_reset && !self.no_stream && std::io::stdout().is_terminal();
        loop {
            let begun = Instant::now();
            // As here: the first table follows at once.
            thread::sleep(ONCE);
            let now = self.look_on(host, &named)?;
            if clears {
                world.out.text(CLEAR)?;
            }
            let rows = now.iter().map(|sample| {
                let earlier = before.iter().find(|old| text(old, "id") == text(sample, "id"));
                row(sample, earlier, self.no_trunc)
            });
            let (rows, format) = (rows.collect(), self.format.as_deref());
            listing::print_fitting(&mut world.out, &COLUMNS, rows, format, true, &SPARE)?;
            world.out.flush()?;
            let ended = !named.is_empty() && now.iter().all(|it| at(it) <= 0);
            if self.no_stream || ended {
                return Ok(Status::SUCCESS);
            }
            let interval = Duration::from_secs(self.interval);
            thread::sleep(interval.saturating_sub(begun.elapsed()).saturating_sub(ONCE));
            before = now;
        }
    }

    fn look_on(&self, host: &Host, named: &[String]) -> Result<Vec<Value>> {
        let mut names = named.to_vec();
        if names.is_empty() {
            let request = Request::get("/containers/json").flag("all", self.all);
            let mut all = answers::entries(host.document(request)?);
            all.reverse();
            names.extend(all.iter().map(|it| text(it, "Id").to_owned()));
        }
        let mut samples = Vec::new();
        for name in &names {
            let request = Request::get(format!("/containers/{}/stats", escape(name)))
                .with("stream", "false")
                .with("one-shot", "true");
            match host.document(request) {
                // One of all that was removed meanwhile.
                Err(error) if named.is_empty() && error.kind() == Kind::NotFound => {}
                sample => samples.push(sample?),
            }
        }
        Ok(samples)
    }
}

/// Returns when a sample was taken, in nanoseconds since 1970.
fn at(sample: &Value) -> i64 {
    time::parse_rfc3339(text(sample, "read")).unwrap_or_default()
}

/// Returns the processor time that a container has used.
fn processor(sample: &Value) -> u64 {
    bytes(&sample["cpu_stats"]["cpu_usage"], "total_usage")
}

/// Returns the memory that a container has, without what can be dropped at once.
fn memory(sample: &Value) -> u64 {
    let stats = &sample["memory_stats"];
    // By the names of either version of control groups.
    let caches = ["total_inactive_file", "inactive_file"];
    let caches = caches.iter().find_map(|name| stats["stats"][*name].as_u64());
    bytes(stats, "usage").saturating_sub(caches.unwrap_or_default())
}

/// Adds up what went over all networks.
fn traffic(sample: &Value) -> (u64, u64) {
    let networks = sample["networks"].as_object().into_iter().flatten();
    networks.fold((0, 0), |(received, sent), (_, it)| {
        (received + bytes(it, "rx_bytes"), sent + bytes(it, "tx_bytes"))
    })
}

/// Adds up what was read from and written to disks.
fn blocks(sample: &Value) -> (u64, u64) {
    let all = answers::list(&sample["blkio_stats"], "io_service_bytes_recursive");
    let sum = |operation: &str| -> u64 {
        let is_it = |it: &&Value| text(it, "op").eq_ignore_ascii_case(operation);
        all.iter().filter(is_it).map(|it| bytes(it, "value")).sum()
    };
    (sum("read"), sum("write"))
}

fn row(sample: &Value, earlier: Option<&Value>, whole: bool) -> Row {
    let percent = |value: f64| format!("{value:.2}%");
    let wall = earlier.map_or(0, |earlier| at(sample).saturating_sub(at(earlier)));
    let cpu = match (wall, earlier) {
        (1.., Some(earlier)) => {
            let used = processor(sample).saturating_sub(processor(earlier));
            used as f64 / wall as f64 * 100.0
        }
        _ => 0.0,
    };
    let (used, limit) = (memory(sample), bytes(&sample["memory_stats"], "limit"));
    let share = if limit == 0 { 0.0 } else { used as f64 / limit as f64 * 100.0 };
    let pair = |(one, other)| format!("{} / {}", HumanSize(one), HumanSize(other));
    let (cpu, share, pids) =
        (percent(cpu), percent(share), bytes(&sample["pids_stats"], "current").to_string());
    let id = answers::id(text(sample, "id"), whole);
    let name = text(sample, "name").trim_start_matches('/');
    let time = duration::go(Duration::from_nanos(processor(sample)));
    let usage = pair((used, limit));
    let (network, disks) = (pair(traffic(sample)), pair(blocks(sample)));
    Row {
        fields: json!({
            "ID": id,
            "Container": id,
            "ContainerID": text(sample, "id"),
            "Name": name,
            "CPUPerc": cpu,
            "MemUsage": usage,
            "MemUsageBytes": format!("{} / {}", BinarySize(used), BinarySize(limit)),
            "MemPerc": share,
            "NetIO": network,
            "BlockIO": disks,
            "PIDs": pids,
            "PIDS": pids,
            "CPU": time,
            // Since when it runs is not said.
            "AvgCPU": "--",
        }),
        document: json!({
            "id": answers::id(text(sample, "id"), false),
            "name": name,
            "cpu_time": time,
            "cpu_percent": cpu,
            "mem_usage": usage,
            "mem_percent": share,
            "net_io": network,
            "block_io": disks,
            "pids": pids,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_two_samples() {
        let sample = |second: u8, used: u64| {
            json!({
                "id": "0123456789abcdef", "name": "/web",
                "read": format!("2026-01-01T00:00:0{second}Z"),
                "cpu_stats": { "cpu_usage": { "total_usage": used } },
                "memory_stats": { "usage": 3000, "limit": 10_000, "stats": { "inactive_file": 500 } },
                "pids_stats": { "current": 2 },
                "networks": { "eth0": { "rx_bytes": 1, "tx_bytes": 2 }, "eth1": { "rx_bytes": 10, "tx_bytes": 0 } },
                "blkio_stats": { "io_service_bytes_recursive": [
                    { "op": "Read", "value": 5 }, { "op": "write", "value": 7 }, { "op": "Total", "value": 12 },
                ] },
            })
        };
        let (one, two) = (sample(1, 1_000_000_000), sample(3, 2_000_000_000));
        let fields = row(&two, Some(&one), false).fields;
        for (field, want) in [
            ("ID", "0123456789ab"),
            ("Name", "web"),
            ("CPUPerc", "50.00%"),
            ("MemUsage", "2.5kB / 10kB"),
            ("MemPerc", "25.00%"),
            ("NetIO", "11B / 2B"),
            ("BlockIO", "5B / 7B"),
            ("PIDs", "2"),
        ] {
            assert_eq!(fields[field], want, "{field}");
        }
        assert_eq!(row(&two, None, false).fields["CPUPerc"], "0.00%");
    }
}
