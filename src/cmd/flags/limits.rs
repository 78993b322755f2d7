//! How much a container may use.

use clap::Args;

use super::together;
use crate::error::Result;
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::limits::{Resources, Ulimit, parse_cpus, parse_swap};
use crate::spec::size::Size;

/// How much it may use.
#[derive(Args, Debug)]
pub(super) struct LimitsFlags {
    /// Length of a scheduling period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Processor time in a period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,
    /// Relative weight of processor time
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,
    /// Number of processors, as in 1.5
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
    #[arg(long, value_name = "SIZE", value_parser = parse_swap)]
    memory_swap: Option<i64>,
    /// Switch off the out-of-memory killer
    #[arg(long)]
    oom_kill_disable: bool,
    /// How soon it is killed when memory is short
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    oom_score_adj: Option<i32>,
    /// Most processes and threads, or -1
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<Size>,
    /// Set an rlimit
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
}

impl LimitsFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        if self.cpus.is_some() && (self.cpu_period.is_some() || self.cpu_quota.is_some()) {
            let other = if self.cpu_period.is_some() { "cpu-period" } else { "cpu-quota" };
            return Err(together("cpus", other));
        }
        let is_said = |limit: &&Ulimit| self.ulimit.iter().any(|own| own.name == limit.name);
        let others = usual.ulimits.all().iter().filter(|limit| !is_said(limit));
        spec.settings.ulimits = others.chain(&self.ulimit).cloned().collect();
        spec.settings.resources = Resources {
            memory: self.memory.map(|size| size.0),
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation.map(|size| size.0),
            nano_cpus: self.cpus,
            cpu_shares: self.cpu_shares,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpuset_cpus: self.cpuset_cpus,
            cpuset_mems: self.cpuset_mems,
            pids: self.pids_limit.or(usual.pids_limit),
            shm_size: self.shm_size.map(|size| size.0).or(usual.shm_size),
            oom_score_adj: self.oom_score_adj.or(usual.oom_score_adj),
            oom_kill_disable: self.oom_kill_disable,
            ..Resources::default()
        };
        Ok(())
    }
}
