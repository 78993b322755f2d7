//! `barge wait`

use clap::{Args, ValueEnum};

use super::World;
use super::containers::{Selection, for_each};
use super::exit::Status;
use super::tree::Act;
use crate::engine::Condition;
use crate::error::{Kind, Result};

/// Wait until containers end, and print their exit codes
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// What to wait for
    #[arg(long, value_enum, value_name = "CONDITION", default_value = "stopped")]
    condition: Until,
    /// Print -1 for containers that are not there
    #[arg(long)]
    ignore: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Until {
    /// It does not run.
    #[value(alias = "exited", alias = "not-running")]
    Stopped,
    /// It ends once more.
    NextExit,
    /// It is gone.
    Removed,
    /// It runs.
    Running,
}

impl Act for Wait {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let condition = match self.condition {
            Until::Stopped => Condition::NotRunning,
            Until::NextExit => Condition::NextExit,
            Until::Removed => Condition::Removed,
            Until::Running => Condition::Running,
        };
        let selection = Selection::named(self.containers, self.latest);
        let names = selection.chosen(&engine, Vec::new())?;
        for_each(world, &names, Status::of_error, |world, name| {
            let code = match engine.wait(name, condition) {
                Err(error) if self.ignore && error.kind() == Kind::NotFound => -1,
                other => other?,
            };
            world.out.line(&code.to_string())?;
            world.out.flush()
        })
    }
}
