//! `barge network prune`

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::output;
use crate::cmd::prompt::confirm;
use crate::cmd::tree::Act;
use crate::engine::networks::{check_filters, is_wanted};
use crate::error::Result;
use crate::spec::filter::Filter;

/// Remove networks that no container is on
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Remove those of which this is true: label or until
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Act for Prune {
    fn act(self, world: &mut World) -> Result<Status> {
        check_filters(&self.filter)?;
        let warning = "WARNING! This will remove all networks not used by at least one container.";
        if !self.force && !confirm(world, warning)? {
            return Ok(Status::SUCCESS);
        }
        let engine = world.power()?;
        let pruned = engine.prune_networks(|found| is_wanted(found, &self.filter))?;
        for name in &pruned.names {
            world.out.line(name)?;
        }
        world.out.flush()?;
        pruned.failures.iter().for_each(output::error);
        Ok(if pruned.failures.is_empty() { Status::SUCCESS } else { Status::FAILED })
    }
}
