//! How much of processors and memory a container may use: what `run`, `update` and `clone` all take.

use clap::Args;

use super::together;
use crate::error::{Error, Kind, Result};
use crate::spec::limits::{Resources, parse_cpus, parse_swap};
use crate::spec::size::Size;

/// How much of processors and memory it may use.
#[derive(Args, Debug)]
pub(in crate::cmd) struct UsageFlags {
    /// Length of a scheduling period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Processor time in a period in microseconds, or -1
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Length of a period of real-time tasks in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Microseconds for real-time tasks in such a period
    ///
    /// Only version 1 of control groups has that. The groups above the container's get what they need
    /// for it.
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<u64>,
    /// Relative weight of processor time
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,
    /// Number of processors, as in 1.5; 0 is no limit
    #[arg(long, value_name = "NUMBER", value_parser = parse_cpus)]
    cpus: Option<u64>,
    /// Processors to run on, as in 0-3,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use, as in 0,1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory limit, as in 512m
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Soft memory limit
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<Size>,
    /// Limit of memory and swap together, or -1
    #[arg(long, value_name = "SIZE", value_parser = parse_swap, allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// How readily its memory is swapped out, 0 to 100, or -1
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    memory_swappiness: Option<i64>,
}

impl UsageFlags {
    /// Returns the limits.
    pub(in crate::cmd) fn resources(self) -> Result<Resources> {
        if self.cpus.is_some() && (self.cpu_period.is_some() || self.cpu_quota.is_some()) {
            let other = if self.cpu_period.is_some() { "cpu-period" } else { "cpu-quota" };
            return Err(together("cpus", other));
        }
        Ok(Resources {
            memory: self.memory.map(|size| size.0),
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation.map(|size| size.0),
            nano_cpus: self.cpus,
            cpu_shares: self.cpu_shares,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_rt_period: self.cpu_rt_period,
            cpu_rt_runtime: self.cpu_rt_runtime,
            cpuset_cpus: self.cpuset_cpus,
            cpuset_mems: self.cpuset_mems,
            swappiness: self.memory_swappiness.map_or(Ok(None), swappiness)?,
            ..Resources::default()
        })
    }
}

/// -1 leaves it to the groups above.
fn swappiness(value: i64) -> Result<Option<u64>> {
    match u64::try_from(value) {
        Ok(value) if value <= 100 => Ok(Some(value)),
        Err(_) if value == -1 => Ok(None),
        _ => Err(Error::new(
            Kind::Invalid,
            format!("invalid value: {value}, valid memory swappiness range is 0-100"),
        )),
    }
}
