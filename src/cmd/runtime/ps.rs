//! `barge runtime ps`, `pause` and `resume`

use clap::Args;

use super::list::Format;
use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::top;
use crate::cmd::tree::Act;
use crate::error::{Context, Result};

/// Show the processes of a container
///
/// By their numbers on this machine. Columns are named as ps does (-o pid,comm), or by one of its sets
/// (aux, -ef).
#[derive(Args, Debug)]
pub(super) struct Ps {
    /// How they are shown: table or json
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Container, and then options of ps
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CONTAINER"
    )]
    words: Vec<String>,
}

impl Act for Ps {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let runtime = world.containers()?;
        let (id, options) = (&self.words[0], &self.words[1..]);
        match self.format {
            Format::Json => {
                let text = serde_json::to_string(&runtime.pids(id)?);
                world.out.line(&text.context(|| "cannot encode the list")?)?;
            }
            Format::Table => {
                let usual = ["-ef".to_owned()];
                let options = if options.is_empty() { &usual[..] } else { options };
                let text = top::table_of(&runtime.processes(id)?, options)?;
                world.out.text(&text)?;
            }
        }
        Ok(Status::SUCCESS)
    }
}

/// Freeze all processes of a container
#[derive(Args, Debug)]
pub(super) struct Pause {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Act for Pause {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        world.containers()?.pause(&self.id)?;
        Ok(Status::SUCCESS)
    }
}

/// Let a paused container go on
#[derive(Args, Debug)]
pub(super) struct Resume {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Act for Resume {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        world.containers()?.resume(&self.id)?;
        Ok(Status::SUCCESS)
    }
}
