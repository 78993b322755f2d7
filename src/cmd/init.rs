//! `barge init`

use clap::Args;

use super::World;
use super::containers::{Selection, for_each};
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::error::Result;

/// Make all of containers but their programs
///
/// Control groups, namespaces, mounts and the network are there then, to be looked at or changed; hooks
/// have run. `barge start` lets the program run.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// All containers that do not run
    #[arg(short, long)]
    all: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Act for Init {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let selection =
            Selection { all: self.all, ..Selection::named(self.containers, self.latest) };
        let names = selection.chosen_where(&engine, Vec::new(), |container| {
            container.state.status.monitored().is_none()
        })?;
        for_each(world, &names, Status::of_error, |world, name| {
            let id = engine.lookup(name)?.config.id;
            engine.init(&id)?.iter().for_each(|warning| output::warning(warning));
            world.out.line(name)
        })
    }
}
