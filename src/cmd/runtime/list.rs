//! `barge runtime state` and `list`

use clap::{Args, ValueEnum};

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::table;
use crate::cmd::tree::Act;
use crate::error::{Context, Result};

/// Show what a container is doing, as JSON
#[derive(Args, Debug)]
pub(super) struct State {
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Act for State {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let state = world.containers()?.state(&self.id)?;
        world.out.line(&state.json()?)?;
        Ok(Status::SUCCESS)
    }
}

/// List the containers of a root directory
#[derive(Args, Debug)]
pub(super) struct List {
    /// How they are shown: table or json
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Show names only
    #[arg(short, long)]
    quiet: bool,
}

/// A way to show a list.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

impl Act for List {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let states = world.containers()?.list()?;
        if self.quiet {
            for state in &states {
                world.out.line(&state.id)?;
            }
            return Ok(Status::SUCCESS);
        }
        match self.format {
            Format::Json => {
                let text = serde_json::to_string(&states).context(|| "cannot encode the list")?;
                world.out.line(&text)?;
            }
            Format::Table => {
                let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
                let mut rows = vec![heading.map(str::to_owned).to_vec()];
                rows.extend(states.into_iter().map(|state| {
                    vec![
                        state.id,
                        state.pid.to_string(),
                        state.status.to_owned(),
                        state.bundle.display().to_string(),
                        state.created,
                        state.owner,
                    ]
                }));
                world.out.text(&table::layout(&rows))?;
            }
        }
        Ok(Status::SUCCESS)
    }
}
