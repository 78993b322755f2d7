//! `barge volume prune`

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::output;
use crate::cmd::prompt::confirm;
use crate::cmd::tree::Act;
use crate::engine::volumes::{check_filters, is_wanted};
use crate::error::Result;
use crate::spec::filter::Filter;
use crate::spec::size::HumanSize;

/// Remove volumes that no container has
///
/// Those that nobody has named: they were made for a container that is gone.
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Those that have names as well
    #[arg(short, long)]
    all: bool,
    /// Remove those of which this is true
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Act for Prune {
    fn act(mut self, world: &mut World) -> Result<Status> {
        // Docker has no flag for it in its API.
        if let Some(index) = self.filter.iter().position(|it| it.key == "all") {
            self.all |= self.filter.remove(index).truth()?;
        }
        check_filters(&self.filter)?;
        let what = if self.all { "all volumes" } else { "anonymous local volumes" };
        let warning =
            format!("WARNING! This will remove {what} not used by at least one container.");
        if !self.force && !confirm(world, &warning)? {
            return Ok(Status::SUCCESS);
        }
        let engine = world.power()?;
        let pruned = engine.prune_volumes(|found| {
            let unused = found.users.is_empty() && (self.all || found.volume.anonymous);
            Ok(unused && is_wanted(found, &self.filter, &[])?)
        })?;
        if !pruned.names.is_empty() {
            world.out.line("Deleted Volumes:")?;
        }
        for name in &pruned.names {
            world.out.line(name)?;
        }
        world.out.line(&format!("Total reclaimed space: {}", HumanSize(pruned.bytes)))?;
        world.out.flush()?;
        pruned.failures.iter().for_each(output::error);
        Ok(if pruned.failures.is_empty() { Status::SUCCESS } else { Status::FAILED })
    }
}
