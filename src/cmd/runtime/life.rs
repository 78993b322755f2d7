//! `barge runtime start`, `kill` and `delete`

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::error::Result;
use crate::spec::process::Signal;

/// Start a container that was created
#[derive(Args, Debug)]
pub(super) struct Start {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Act for Start {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        for warning in world.containers()?.start(&self.id)? {
            world.warn(&warning);
        }
        Ok(Status::SUCCESS)
    }
}

/// Send a signal to a container's first process
#[derive(Args, Debug)]
pub(super) struct Kill {
    /// Send it to all processes of the container
    #[arg(short, long)]
    all: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
    /// Signal, by name or number; SIGTERM if not said
    #[arg(value_name = "SIGNAL")]
    signal: Option<Signal>,
}

impl Act for Kill {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let signal = self.signal.unwrap_or(Signal::TERM);
        let runtime = world.containers()?;
        match self.all {
            true => runtime.kill_all(&self.id, signal)?,
            false => runtime.kill(&self.id, signal)?,
        }
        Ok(Status::SUCCESS)
    }
}

/// Delete a container that has ended or was never started
#[derive(Args, Debug)]
pub(super) struct Delete {
    /// Delete it even if it runs or is not there
    #[arg(short, long)]
    force: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Act for Delete {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        world.containers()?.delete(&self.id, self.force)?;
        Ok(Status::SUCCESS)
    }
}
