//! How a container's health is probed.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::error::{Error, Kind, Result};
use crate::spec::container::ContainerSpec;
use crate::spec::health::{
    HealthSpec, Interval, OnFailure, Startup, parse_command, parse_interval, parse_time,
};
use crate::spec::image::Healthcheck;

/// How its health is probed.
#[derive(Args, Debug)]
pub(super) struct HealthFlags {
    /// Command that probes its health, or none
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two probes, or disable
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    health_interval: Option<Interval>,
    /// What to do when it is not healthy
    #[arg(
        long,
        value_enum,
        value_name = "ACTION",
        default_value = "none",
        hide_default_value = true
    )]
    health_on_failure: OnFailureFlag,
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
        let startup = self.startup()?;
        if startup.is_some() && self.health_cmd.as_deref().is_none_or(|text| text == "none") {
            return Err(Error::new(
                Kind::Invalid,
                "startup healthcheck requires that a regular healthcheck is set, too",
            )
            .hint("add --health-cmd"));
        }
        spec.health = HealthSpec {
            disabled: self.no_healthcheck,
            test: self.health_cmd.as_deref().map(parse_command).transpose()?,
            interval: self.health_interval,
            timeout: self.health_timeout,
            start_period: self.health_start_period,
            start_interval: self.health_start_interval,
            retries: self.health_retries,
            on_failure: match self.health_on_failure {
                OnFailureFlag::None => OnFailure::None,
                OnFailureFlag::Kill => OnFailure::Kill,
                OnFailureFlag::Restart => OnFailure::Restart,
                OnFailureFlag::Stop => OnFailure::Stop,
            },
            startup,
        };
        Ok(())
    }

    fn startup(&self) -> Result<Option<Startup>> {
        let Some(command) = &self.health_startup_cmd else {
            let others = self.health_startup_interval.is_some()
                || self.health_startup_retries.is_some()
                || self.health_startup_success.is_some()
                || self.health_startup_timeout.is_some();
            if others {
                return Err(Error::new(
                    Kind::Invalid,
                    "--health-startup-* flags need --health-startup-cmd",
                ));
            }
            return Ok(None);
        };
        let nanoseconds = |time: Option<Duration>| {
            time.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
        };
        Ok(Some(Startup {
            check: Healthcheck {
                test: parse_command(command)?,
                interval: nanoseconds(self.health_startup_interval),
                timeout: nanoseconds(self.health_startup_timeout),
                retries: self.health_startup_retries.unwrap_or(0).into(),
                ..Healthcheck::default()
            },
            successes: self.health_startup_success.unwrap_or(1),
        }))
    }
}
