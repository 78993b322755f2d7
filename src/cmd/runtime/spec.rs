//! `barge runtime spec` and `features`

use std::path::PathBuf;

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::runtime;
use crate::error::{Context, Result};

/// Write a config.json to begin with
#[derive(Args, Debug)]
pub(super) struct Spec {
    /// Directory to write it to; the working directory if none
    #[arg(short, long, value_name = "PATH", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// For a container of a user who is not root
    #[arg(long)]
    rootless: bool,
}

impl Act for Spec {
    const IS_LOCAL: bool = true;

    fn act(self, _world: &mut World) -> Result<Status> {
        match self.rootless {
            true => runtime::example_rootless(&self.bundle)?,
            false => runtime::example(&self.bundle)?,
        }
        Ok(Status::SUCCESS)
    }
}

/// Show what this runtime can do, as JSON
#[derive(Args, Debug)]
pub(super) struct Features {}

impl Act for Features {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let text = serde_json::to_string_pretty(&runtime::features());
        world.out.line(&text.context(|| "cannot encode the features")?)?;
        Ok(Status::SUCCESS)
    }
}
