//! `barge pause` and `barge unpause`

use clap::Args;

use super::World;
use super::containers::{FilterSelection, IdFiles, for_each};
use super::exit::Status;
use super::tree::Act;
use crate::engine::Engine;
use crate::error::Result;
use crate::store::container::Run;

/// Make all processes of containers stand still
///
/// They keep their memory and go on with `barge unpause`. Without root, this needs a control group
/// (version 2) that was delegated to you, as systemd gives one to each user.
#[derive(Args, Debug)]
pub(crate) struct Pause {
    #[command(flatten)]
    files: IdFiles,
    #[command(flatten)]
    selection: FilterSelection,
}

/// Let paused containers go on
#[derive(Args, Debug)]
pub(crate) struct Unpause {
    #[command(flatten)]
    files: IdFiles,
    #[command(flatten)]
    selection: FilterSelection,
}

impl Act for Pause {
    fn act(self, world: &mut World) -> Result<Status> {
        act(world, self.files, self.selection, |run| !run.paused, Engine::pause)
    }
}

impl Act for Unpause {
    fn act(self, world: &mut World) -> Result<Status> {
        act(world, self.files, self.selection, |run| run.paused, Engine::unpause)
    }
}

/// Does it to those that are named, and among those that are not, to those to which it can be done.
fn act(
    world: &mut World,
    files: IdFiles,
    selection: FilterSelection,
    can: fn(&Run) -> bool,
    verb: fn(&Engine, &str) -> Result<()>,
) -> Result<Status> {
    let engine = world.power()?;
    let selection = selection.into_selection();
    let names = selection.chosen_where(&engine, files.read(false)?, |container| {
        container.state.run().is_some_and(can)
    })?;
    for_each(world, &names, Status::of_error, |world, name| {
        verb(&engine, name)?;
        world.out.line(name)
    })
}
