//! `barge runtime update`

use std::path::PathBuf;

use clap::Args;
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::size::Size;

/// Change the limits of a container that runs
///
/// The file of --resources is as in the OCI's configuration; flags beside it count more.
#[derive(Args, Debug)]
pub(super) struct Update {
    /// Relative weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Processor time beyond the quota in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_burst: Option<u64>,
    /// 1 to run only where nobody else wants to, or 0
    #[arg(long, value_name = "NUMBER")]
    cpu_idle: Option<i64>,
    /// Length of a scheduling period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Processor time in a period in microseconds, or -1
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,
    /// Length of a real-time period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Real-time processor time in a period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,
    /// Relative weight of processor time
    #[arg(long, value_name = "WEIGHT")]
    cpu_share: Option<u64>,
    /// Processors to run on, as in 0-3,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use, as in 0,1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Accepted; the kernel has no such limit any more
    #[arg(long, value_name = "SIZE")]
    kernel_memory: Option<String>,
    /// Accepted; the kernel has no such limit any more
    #[arg(long, value_name = "SIZE")]
    kernel_memory_tcp: Option<String>,
    /// Cache that it may fill; it is not limited by barge
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Memory bandwidth; it is not limited by barge
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
    /// Memory limit, as in 512m, or -1
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory: Option<i64>,
    /// Soft memory limit, or -1
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Limit of memory and swap together, or -1
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory_swap: Option<i64>,
    /// Most processes and threads, or -1
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// Read limits from this file, or - for standard input
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

/// Reads a size; below zero is no limit.
fn bytes(text: &str) -> Result<i64> {
    match text.parse::<i64>() {
        Ok(number) => Ok(number),
        Err(_) => Ok(i64::try_from(text.parse::<Size>()?.0).unwrap_or(i64::MAX)),
    }
}

impl Update {
    fn resources(&self) -> Result<LinuxResources> {
        if self.l3_cache_schema.is_some() || self.mem_bw_schema.is_some() {
            let text = "Intel RDT is not supported: caches and memory bandwidth are not limited";
            return Err(Error::new(Kind::Unsupported, text));
        }
        let mut document = match &self.resources {
            Some(path) => read(path)?,
            None => json!({}),
        };
        for (part, name, value) in [
            ("memory", "limit", self.memory.map(Value::from)),
            ("memory", "reservation", self.memory_reservation.map(Value::from)),
            ("memory", "swap", self.memory_swap.map(Value::from)),
            ("cpu", "burst", self.cpu_burst.map(Value::from)),
            ("cpu", "idle", self.cpu_idle.map(Value::from)),
            ("cpu", "period", self.cpu_period.map(Value::from)),
            ("cpu", "quota", self.cpu_quota.map(Value::from)),
            ("cpu", "realtimePeriod", self.cpu_rt_period.map(Value::from)),
            ("cpu", "realtimeRuntime", self.cpu_rt_runtime.map(Value::from)),
            ("cpu", "shares", self.cpu_share.map(Value::from)),
            ("cpu", "cpus", self.cpuset_cpus.clone().map(Value::from)),
            ("cpu", "mems", self.cpuset_mems.clone().map(Value::from)),
            ("blockIO", "weight", self.blkio_weight.map(Value::from)),
            ("pids", "limit", self.pids_limit.map(Value::from)),
        ] {
            if let (Some(value), Some(all)) = (value, document.as_object_mut()) {
                let part = all.entry(part).or_insert_with(|| Map::new().into());
                if let Some(part) = part.as_object_mut() {
                    part.insert(name.to_owned(), value);
                }
            }
        }
        serde_json::from_value(document).context(|| "cannot read the limits")
    }
}

fn read(path: &PathBuf) -> Result<Value> {
    let context = || format!("cannot read {}", path.display());
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    serde_json::from_str(&text.context(context)?).context(context)
}

impl Act for Update {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let resources = self.resources()?;
        for warning in world.containers()?.update(&self.id, &resources)? {
            world.warn(&warning);
        }
        Ok(Status::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        for (text, want) in
            [("-1", Some(-1)), ("4096", Some(4096)), ("2m", Some(2 << 20)), ("x", None)]
        {
            assert_eq!(bytes(text).ok(), want, "{text}");
        }
    }
}
