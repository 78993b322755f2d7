//! How a container's health is probed.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::ContainerSpec;
use crate::spec::health::{
    HealthSpec, Interval, OnFailure, StartupSpec, parse_command, parse_interval, parse_time,
};
use crate::spec::health_log::HealthDestination;

/// How its health is probed.
#[derive(Args, Debug)]
pub(in crate::cmd) struct HealthFlags {
    /// Command that probes its health, or none
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two probes, or disable
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    health_interval: Option<Interval>,
    /// Directory for results, or local, or events_logger
    #[arg(long, value_name = "PLACE")]
    health_log_destination: Option<HealthDestination>,
    /// Results that are kept; 0 is all, 5 the usual
    #[arg(long, value_name = "NUMBER")]
    health_max_log_count: Option<u32>,
    /// Bytes that are kept of each result; 0 is all, 4096 the usual
    #[arg(long, value_name = "BYTES")]
    health_max_log_size: Option<u32>,
    /// What to do when it is not healthy
    #[arg(long, value_enum, value_name = "ACTION")]
    health_on_failure: Option<OnFailureFlag>,
    /// Failures in a row that make it unhealthy
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<u32>,
    /// Time between two probes while it starts
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    health_start_interval: Option<Duration>,
    /// Time during which failures do not count
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    health_start_period: Option<Duration>,
    /// Command that must succeed before its health is probed
    #[arg(long, value_name = "COMMAND")]
    health_startup_cmd: Option<String>,
    /// Time between two probes of its start
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    health_startup_interval: Option<Duration>,
    /// Failures of its start after which it is started again
    #[arg(long, value_name = "NUMBER")]
    health_startup_retries: Option<u32>,
    /// Successes that its start takes
    #[arg(long, value_name = "NUMBER")]
    health_startup_success: Option<u32>,
    /// Time after which a probe of its start has failed
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    health_startup_timeout: Option<Duration>,
    /// Time after which a probe has failed
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    health_timeout: Option<Duration>,
    /// Do not probe its health, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
}

/// What to do about a container that is not healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFailureFlag {
    /// Nothing.
    None,
    /// Kill it.
    Kill,
    /// Stop it and start it again.
    Restart,
    /// Stop it.
    Stop,
}

impl HealthFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, spec: &mut ContainerSpec) -> Result<()> {
        spec.health = self.spec()?;
        Ok(())
    }

    /// Returns what is asked for.
    pub(in crate::cmd) fn spec(self) -> Result<HealthSpec> {
        Ok(HealthSpec {
            disabled: self.no_healthcheck,
            test: self.health_cmd.as_deref().map(parse_command).transpose()?,
            interval: self.health_interval,
            timeout: self.health_timeout,
            start_period: self.health_start_period,
            start_interval: self.health_start_interval,
            retries: self.health_retries,
            on_failure: self.health_on_failure.map(|action| match action {
                OnFailureFlag::None => OnFailure::None,
                OnFailureFlag::Kill => OnFailure::Kill,
                OnFailureFlag::Restart => OnFailure::Restart,
                OnFailureFlag::Stop => OnFailure::Stop,
            }),
            startup: StartupSpec {
                test: self.health_startup_cmd.as_deref().map(parse_command).transpose()?,
                interval: self.health_startup_interval,
                timeout: self.health_startup_timeout,
                retries: self.health_startup_retries,
                successes: self.health_startup_success,
            },
            destination: self.health_log_destination.map(in_full).transpose()?,
            max_log_count: self.health_max_log_count,
            max_log_size: self.health_max_log_size,
        })
    }
}

/// Makes a directory's path complete, and sees to it that it is one.
fn in_full(destination: HealthDestination) -> Result<HealthDestination> {
    let HealthDestination::Directory(path) = destination else { return Ok(destination) };
    let context = || format!("HealthCheck Log '{}' destination error", path.display());
    let full = std::fs::canonicalize(&path).context(context)?;
    if !full.is_dir() {
        let text = format!("HealthCheck Log '{}' destination must be directory", path.display());
        return Err(Error::new(Kind::Invalid, text));
    }
    Ok(HealthDestination::Directory(full))
}
