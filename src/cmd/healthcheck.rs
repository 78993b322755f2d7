//! `barge healthcheck run`

use clap::Args;

use super::World;
use super::exit::Status;
use super::tree::Act;
use crate::error::Result;

/// Probe a container's health now
///
/// The exit status is 0 if it is well, and 1 if it is not.
#[derive(Args, Debug)]
pub(crate) struct HealthcheckRun {
    /// Exit with 0 even if it is not well
    #[arg(long)]
    ignore_result: bool,
    /// Container, by name or ID
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

impl Act for HealthcheckRun {
    fn act(self, world: &mut World) -> Result<Status> {
        let well = world.engine()?.probe_health(&self.container)?;
        Ok(if well || self.ignore_result { Status::SUCCESS } else { Status::NO })
    }
}
