//! `barge volume prune`

use clap::Args;

use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::exit::Status;
use crate::cmd::host::refuse;
use crate::cmd::output;
use crate::cmd::prompt::confirm;
use crate::cmd::tree::Act;
use crate::engine::volumes::{check_filters, is_wanted};
use crate::error::Result;
use crate::remote::{Host, Request};
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

impl Prune {
    fn warning(&self) -> String {
        let what = if self.all { "all volumes" } else { "anonymous local volumes" };
        format!("WARNING! This will remove {what} not used by at least one container.")
    }
}

impl Act for Prune {
    fn act(mut self, world: &mut World) -> Result<Status> {
        // Docker has no flag for it in its API.
        if let Some(index) = self.filter.iter().position(|it| it.key == "all") {
            self.all |= self.filter.remove(index).truth()?;
        }
        check_filters(&self.filter)?;
        if !self.force && !confirm(world, &self.warning())? {
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

    fn act_on(mut self, host: &Host, world: &mut World) -> Result<Status> {
        if !self.force && !confirm(world, &self.warning())? {
            return Ok(Status::SUCCESS);
        }
        // Before version 1.42 there was no telling them apart, and the filter was not known.
        let is_old = host.version()? < (1, 42);
        refuse(&[("pruning volumes without --all, at so old a service,", is_old && !self.all)])?;
        if self.all && !is_old {
            self.filter.push("all=true".parse()?);
        }
        let request =
            Request::post("/volumes/prune").maybe("filters", answers::filters(&self.filter)?);
        let pruned = host.document(request)?;
        let names = answers::words(&pruned, "VolumesDeleted");
        if !names.is_empty() {
            world.out.line("Deleted Volumes:")?;
        }
        names.iter().try_for_each(|name| world.out.line(name))?;
        let bytes = answers::bytes(&pruned, "SpaceReclaimed");
        world.out.line(&format!("Total reclaimed space: {}", HumanSize(bytes)))?;
        Ok(Status::SUCCESS)
    }
}
