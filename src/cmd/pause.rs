//! `barge pause` and `barge unpause`

use clap::Args;

use super::World;
use super::containers::{FilterSelection, IdFiles, for_each, for_each_on};
use super::exit::Status;
use super::tree::Act;
use crate::engine::Engine;
use crate::error::Result;
use crate::remote::{Host, Request};
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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        act_on(host, world, self.files, self.selection, ("running", "pause"))
    }
}

impl Act for Unpause {
    fn act(self, world: &mut World) -> Result<Status> {
        act(world, self.files, self.selection, |run| run.paused, Engine::unpause)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        act_on(host, world, self.files, self.selection, ("paused", "unpause"))
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

/// As [`act`], on another host: what it can be done to, and what it is called there.
fn act_on(
    host: &Host,
    world: &mut World,
    files: IdFiles,
    selection: FilterSelection,
    (state, verb): (&str, &str),
) -> Result<Status> {
    let selection = selection.into_selection();
    let names = selection.chosen_on_where(host, files.read(false)?, |found| found == state)?;
    for_each_on(host, world, &names, false, |name| {
        Request::post(format!("/containers/{name}/{verb}"))
    })
}
