//! `barge container clone`

use clap::Args;

use super::World;
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::CloneOptions;
use crate::error::{Error, Kind, Result};
use crate::spec::limits::{Resources, parse_cpus, parse_swap};
use crate::spec::name;
use crate::spec::size::Size;

/// Make another container of the same making
///
/// It has all settings of the first and the files of its image, or of another one. What the first has
/// changed is not copied. Its name is that of the first with -clone behind it.
#[derive(Args, Debug)]
pub(crate) struct Clone {
    /// Length of a scheduling period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Processor time in a period in microseconds, or -1
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
    /// Remove the first container
    #[arg(long)]
    destroy: bool,
    /// Remove it although it runs
    #[arg(short, long, requires = "destroy")]
    force: bool,
    /// Memory limit, as in 512m
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Soft memory limit
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<Size>,
    /// Limit of memory and swap together, or -1
    #[arg(long, value_name = "SIZE", value_parser = parse_swap)]
    memory_swap: Option<i64>,
    /// Name it
    #[arg(long, value_name = "NAME", value_parser = name::parse)]
    name: Option<String>,
    /// Start it in the background
    #[arg(long)]
    run: bool,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER", required = true)]
    container: String,
    /// Name of the new one
    #[arg(value_name = "NAME", value_parser = name::parse)]
    new_name: Option<String>,
    /// Image to take the files from
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

impl Act for Clone {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.name.is_some() && self.new_name.is_some() {
            return Err(Error::new(
                Kind::Invalid,
                "cannot set a name both by --name and behind the container",
            ));
        }
        if self.cpus.is_some() && (self.cpu_period.is_some() || self.cpu_quota.is_some()) {
            return Err(Error::new(
                Kind::Invalid,
                "--cpus cannot be set together with --cpu-period or --cpu-quota",
            ));
        }
        let options = CloneOptions {
            name: self.name.or(self.new_name),
            image: self.image,
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
                ..Resources::default()
            },
            destroy: self.destroy,
            force: self.force,
        };
        let engine = world.power()?;
        let id = engine.clone_container(&self.container, &options)?;
        if self.run
            && let Some(session) = engine.start(&id, None)?
        {
            session.warnings().iter().for_each(|warning| output::warning(warning));
        }
        world.out.line(id.as_str())?;
        Ok(Status::SUCCESS)
    }
}
