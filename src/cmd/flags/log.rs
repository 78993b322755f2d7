//! Where a container's output goes.

use clap::Args;

use crate::error::Result;
use crate::spec::container::ContainerSpec;
use crate::spec::log::{LogDriver, LogSettings};

/// Where its output goes.
#[derive(Args, Debug)]
pub(super) struct LogFlags {
    /// How output is kept: k8s-file, json-file, local or none
    #[arg(long, value_name = "NAME")]
    log_driver: Option<LogDriver>,
    /// Option of the log, as in max-size=10m
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
}

impl LogFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, spec: &mut ContainerSpec) -> Result<()> {
        let mut log =
            LogSettings { driver: self.log_driver.unwrap_or_default(), ..LogSettings::default() };
        for option in &self.log_opt {
            log.apply(option)?;
        }
        log.check()?;
        spec.settings.log = log;
        Ok(())
    }
}
