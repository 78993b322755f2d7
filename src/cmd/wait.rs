//! `barge wait`

mod remote;

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::World;
use super::containers::{Selection, for_each};
use super::exit::Status;
use super::tree::Act;
use crate::engine::Condition;
use crate::error::{Kind, Result};
use crate::remote::Host;
use crate::spec::duration;

/// Wait until containers end, and print their exit codes
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// What to wait for; one of several
    #[arg(long, value_enum, value_name = "CONDITION", value_delimiter = ',')]
    condition: Vec<Until>,
    /// Print -1 for containers that are not there
    #[arg(long)]
    ignore: bool,
    /// Time between two looks at other hosts
    ///
    /// Without a unit, milliseconds. Nothing is polled on this machine, nor for an end on others.
    #[arg(short, long, value_name = "DURATION", value_parser = interval)]
    interval: Option<Duration>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Wait for the first of the containers only
    #[arg(long)]
    return_first: bool,
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
    /// It was never started.
    #[value(alias = "configured")]
    Created,
    /// It is all there but its program.
    Initialized,
    /// It stands still.
    Paused,
    /// Somebody has asked it to end.
    Stopping,
    /// Its health check says that it is well.
    Healthy,
    /// Its health check says that it is not well.
    Unhealthy,
}

/// Parses a duration; a number without a unit is milliseconds, as in Podman.
fn interval(text: &str) -> Result<Duration> {
    match text.parse() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => duration::parse(text),
    }
}

impl Act for Wait {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let mut conditions: Vec<Condition> = self.condition.iter().map(|it| it.meaning()).collect();
        if conditions.is_empty() {
            conditions.push(Condition::NotRunning);
        }
        let selection = Selection::named(self.containers, self.latest);
        let names = selection.chosen(&engine, Vec::new())?;
        let waited = |result: Result<i32>| match result {
            Err(error) if self.ignore && error.kind() == Kind::NotFound => Ok(-1),
            other => other,
        };
        if self.return_first {
            let code = waited(engine.wait_for_first(&names, &conditions))?;
            world.out.line(&code.to_string())?;
            return Ok(Status::SUCCESS);
        }
        for_each(world, &names, Status::of_error, |world, name| {
            let code = waited(engine.wait(name, &conditions))?;
            world.out.line(&code.to_string())?;
            world.out.flush()
        })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.wait_on(host, world)
    }
}

impl Until {
    fn meaning(self) -> Condition {
        match self {
            Self::Stopped => Condition::NotRunning,
            Self::NextExit => Condition::NextExit,
            Self::Removed => Condition::Removed,
            Self::Running => Condition::Running,
            Self::Created => Condition::Created,
            Self::Initialized => Condition::Initialized,
            Self::Paused => Condition::Paused,
            Self::Stopping => Condition::Stopping,
            Self::Healthy => Condition::Healthy,
            Self::Unhealthy => Condition::Unhealthy,
        }
    }
}
