//! `barge stats`

mod remote;

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::World;
use super::containers::{Selection, listed};
use super::exit::Status;
use super::listing::{self, Columns, Row};
use super::tree::Act;
use crate::engine::{Engine, Sample};
use crate::error::{Error, Kind, Result};
use crate::remote::Host;
use crate::spec::duration;
use crate::spec::size::{BinarySize, HumanSize};
use crate::store::container::Container;

/// Show what running containers use, again and again
///
/// The terminal is cleared before each table, unless --no-reset is given. On a narrow terminal the less
/// important columns are left out.
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Seconds between two looks
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1)]
    interval: u64,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Do not clear the terminal
    #[arg(long)]
    no_reset: bool,
    /// Look once
    #[arg(long)]
    no_stream: bool,
    /// Do not shorten IDs
    #[arg(long, visible_alias = "notruncate")]
    no_trunc: bool,
    /// Containers, by name or ID; all that run if there are none
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: Columns = Columns {
    shown: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET IO"),
        ("BlockIO", "BLOCK IO"),
        ("PIDs", "PIDS"),
        ("CPU", "CPU TIME"),
        ("AvgCPU", "AVG CPU %"),
    ],
    others: &[("Container", "CONTAINER"), ("ContainerID", "CONTAINER ID"), ("PIDS", "PIDS")],
};

/// What a narrow terminal goes without, first things first.
const SPARE: [&str; 7] = ["AvgCPU", "CPU", "BlockIO", "NetIO", "PIDs", "MemPerc", "ID"];

/// How long use is measured when it is shown once.
const ONCE: Duration = Duration::from_millis(250);

/// Forgets what the terminal shows.
const CLEAR: &str = "\x1b[2J\x1b[H";

impl Act for Stats {
    fn act(self, world: &mut World) -> Result<Status> {
        self.check()?;
        let engine = world.power()?;
        let named = if self.latest || !self.containers.is_empty() {
            let selection = Selection::named(self.containers.clone(), self.latest);
            selection.chosen(&engine, Vec::new())?
        } else {
            Vec::new()
        };
        let mut before = self.look(&engine, &named)?;
        let clears = !self.no_reset && !self.no_stream && std::io::stdout().is_terminal();
        loop {
            let begun = Instant::now();
            // The first table follows at once; use is measured over a moment.
            thread::sleep(ONCE);
            let now = self.look(&engine, &named)?;
            if clears {
                world.out.text(CLEAR)?;
            }
            self.print(world, &before, &now)?;
            world.out.flush()?;
            let ended =
                !named.is_empty() && now.iter().all(|it| it.container.state.run().is_none());
            if self.no_stream || ended {
                return Ok(Status::SUCCESS);
            }
            let interval = Duration::from_secs(self.interval);
            thread::sleep(interval.saturating_sub(begun.elapsed()).saturating_sub(ONCE));
            before = now;
        }
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.show_on(host, world)
    }
}

impl Stats {
    fn check(&self) -> Result<()> {
        match self.interval {
            0 => {
                let text = "invalid interval: it must be 1 or more seconds";
                Err(Error::new(Kind::Invalid, text))
            }
            _ => Ok(()),
        }
    }

    /// Measures all containers that are meant.
    fn look(&self, engine: &Engine, named: &[String]) -> Result<Vec<Sample>> {
        let wanted: Vec<Container> = if named.is_empty() {
            let all = listed(engine)?.into_iter();
            all.filter(|container| self.all || container.state.run().is_some()).collect()
        } else {
            named.iter().map(|name| engine.lookup(name)).collect::<Result<_>>()?
        };
        wanted.into_iter().map(|container| engine.sample(container)).collect()
    }

    fn print(&self, world: &mut World, before: &[Sample], now: &[Sample]) -> Result<()> {
        let rows = now.iter().map(|sample| {
            let id = sample.container.id();
            // Of one that was started just now there is nothing to compare with.
            let earlier = before.iter().find(|old| {
                old.container.id() == id
                    && old.container.state.run() == sample.container.state.run()
            });
            row(sample, earlier, self.no_trunc)
        });
        // As Docker does, what was typed where something was.
        let typed = self.containers.iter().map(|name| Some(json!(name)));
        let rows = rows.zip(typed.chain(std::iter::repeat(None))).map(|(mut row, typed)| {
            if let Some(typed) = typed {
                row.fields["Container"] = typed;
            }
            row
        });
        let rows = rows.collect();
        let format = self.format.as_deref();
        listing::print_fitting(&mut world.out, &COLUMNS, rows, format, true, &SPARE)
    }
}

fn row(sample: &Sample, earlier: Option<&Sample>, whole: bool) -> Row {
    let Container { config, state, .. } = &sample.container;
    let percent = |value: f64| format!("{value:.2}%");
    let lived = match state.run() {
        Some(_) => Duration::from_nanos(super::now().saturating_sub(state.started).max(0) as u64),
        None => Duration::ZERO,
    };
    let average = match lived.as_nanos() {
        0 => 0.0,
        lived => sample.cpu() as f64 / lived as f64 * 100.0,
    };
    let cpu = percent(earlier.map_or(average, |earlier| sample.cpu_since(earlier)));
    let pair = |(one, other)| format!("{} / {}", HumanSize(one), HumanSize(other));
    let memory = pair((sample.memory(), sample.memory_limit));
    let binary = format!("{} / {}", BinarySize(sample.memory()), BinarySize(sample.memory_limit));
    let (memory_percent, average) = (percent(sample.memory_percent()), percent(average));
    let (network, blocks) = (pair(sample.network()), pair(sample.used.blocks()));
    let time = duration::go(Duration::from_nanos(sample.cpu()));
    let pids = sample.used.pids.unwrap_or(0).to_string();
    let id = if whole { config.id.as_str() } else { config.id.short() };
    Row {
        fields: json!({
            "ID": id,
            "Container": id,
            "ContainerID": config.id,
            "Name": state.name,
            "CPUPerc": cpu,
            "MemUsage": memory,
            "MemUsageBytes": binary,
            "MemPerc": memory_percent,
            "NetIO": network,
            "BlockIO": blocks,
            "PIDs": pids,
            "PIDS": pids,
            "CPU": time,
            "AvgCPU": average,
            "UpTime": duration::go(lived),
            "Up": duration::go(lived),
            "Duration": lived.as_nanos() as u64,
            "CPUNano": sample.cpu(),
            "CPUSystemNano": sample.used.cpu_system.unwrap_or(0),
            "SystemNano": sample.at,
            "MemLimit": sample.memory_limit,
            "NetInput": sample.network().0,
            "NetOutput": sample.network().1,
            "BlockInput": sample.used.blocks().0,
            "BlockOutput": sample.used.blocks().1,
        }),
        document: json!({
            "id": config.id.short(),
            "name": state.name,
            "cpu_time": time,
            "cpu_percent": cpu,
            "avg_cpu": average,
            "mem_usage": memory,
            "mem_percent": memory_percent,
            "net_io": network,
            "block_io": blocks,
            "pids": pids,
        }),
    }
}
