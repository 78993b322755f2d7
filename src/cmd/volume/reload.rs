//! `barge volume reload`

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::output;
use crate::cmd::tree::Act;
use crate::error::Result;

/// Ask volume plugins which volumes they have
///
/// Those that are not on record are added; those that are gone, and that no container has, are removed
/// from it.
#[derive(Args, Debug)]
pub(crate) struct Reload {}

impl Act for Reload {
    fn act(self, world: &mut World) -> Result<Status> {
        let reloaded = world.power()?.reload_volumes()?;
        for (heading, names) in [("Added:", &reloaded.added), ("Removed:", &reloaded.removed)] {
            if !names.is_empty() {
                world.out.line(heading)?;
                names.iter().try_for_each(|name| world.out.line(name))?;
            }
        }
        world.out.flush()?;
        reloaded.failures.iter().for_each(output::error);
        Ok(if reloaded.failures.is_empty() { Status::SUCCESS } else { Status::FAILED })
    }
}
