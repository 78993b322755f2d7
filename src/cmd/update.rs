//! `barge update`

use clap::Args;

use super::World;
use super::containers::{Selection, for_each};
use super::exit::Status;
use super::flags::health::HealthFlags;
use super::output;
use super::tree::Act;
use crate::engine;
use crate::error::{Error, Kind, Result};
use crate::spec::limits::{Resources, RestartPolicy, parse_cpus, parse_swap};
use crate::spec::size::Size;

/// Change limits, health checks and restart policies
///
/// Running containers have them at once, and all have them when they are started the next time. What is
/// not given stays as it is.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// Length of a scheduling period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Processor time in a period in microseconds, or -1
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,
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
    #[command(flatten)]
    health: HealthFlags,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Memory limit, as in 512m
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Soft memory limit
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<Size>,
    /// Limit of memory and swap together, or -1
    #[arg(long, value_name = "SIZE", value_parser = parse_swap)]
    memory_swap: Option<i64>,
    /// Most processes and threads, or -1
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// When it is started again: no, always, on-failure[:N]
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Act for Update {
    fn act(self, world: &mut World) -> Result<Status> {
        let period_or_quota = if self.cpu_period.is_some() { "cpu-period" } else { "cpu-quota" };
        if self.cpus.is_some() && (self.cpu_period.is_some() || self.cpu_quota.is_some()) {
            let text = format!("--cpus and --{period_or_quota} cannot be set together");
            return Err(Error::new(Kind::Invalid, text));
        }
        let update = engine::Update {
            resources: Resources {
                memory: self.memory.map(|size| size.0),
                memory_swap: self.memory_swap,
                memory_reservation: self.memory_reservation.map(|size| size.0),
                nano_cpus: self.cpus,
                cpu_shares: self.cpu_shares,
                cpu_period: self.cpu_period,
                cpu_quota: self.cpu_quota,
                cpuset_cpus: self.cpuset_cpus,
                cpuset_mems: self.cpuset_mems,
                pids: self.pids_limit,
                ..Resources::default()
            },
            restart: self.restart,
            health: self.health.spec()?,
        };
        let engine = world.power()?;
        let names = Selection::named(self.containers, self.latest).chosen(&engine, Vec::new())?;
        for_each(world, &names, Status::of_error, |world, name| {
            let (id, warnings) = engine.update(name, &update)?;
            warnings.iter().for_each(|warning| output::warning(warning));
            world.out.line(id.as_str())
        })
    }
}
