//! `barge network prune`

use clap::Args;

use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::exit::Status;
use crate::cmd::output;
use crate::cmd::prompt::confirm;
use crate::cmd::tree::Act;
use crate::engine::networks::{check_filters, is_wanted};
use crate::error::Result;
use crate::remote::{Host, Request};
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

const WARNING: &str = "WARNING! This will remove all networks not used by at least one container.";

impl Act for Prune {
    fn act(self, world: &mut World) -> Result<Status> {
        check_filters(&self.filter)?;
        if !self.force && !confirm(world, WARNING)? {
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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        if !self.force && !confirm(world, WARNING)? {
            return Ok(Status::SUCCESS);
        }
        let request =
            Request::post("/networks/prune").maybe("filters", answers::filters(&self.filter)?);
        let pruned = host.document(request)?;
        for name in answers::words(&pruned, "NetworksDeleted") {
            world.out.line(name)?;
        }
        Ok(Status::SUCCESS)
    }
}
