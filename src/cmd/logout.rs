//! `barge logout`

use clap::Args;

use super::World;
use super::exit::Status;
use super::login::FileFlags;
use super::tree::Act;
use crate::engine::images::{self, Logout as Outcome};
use crate::error::{Error, Kind, Result};

/// Log out of a registry
///
/// The credentials that login has kept are forgotten.
#[derive(Args, Debug)]
pub(crate) struct Logout {
    /// Log out of all registries
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    files: FileFlags,
    /// Registry, as in quay.io
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

impl Act for Logout {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let files = self.files.files();
        let text = match (self.all, &self.registry) {
            (true, Some(_)) => return Err(Error::new(Kind::Invalid, "--all takes no arguments")),
            (true, None) => {
                images::logout_all(&files)?;
                "Removed login credentials for all registries".to_owned()
            }
            (false, registry) => match images::logout(registry.as_deref(), &files)? {
                Outcome::Removed(name) => format!("Removed login credentials for {name}"),
                Outcome::KnownElsewhere(name) => format!(
                    "Not logged into {name} with current tool. Existing credentials were established via docker login. Please use docker logout instead."
                ),
            },
        };
        world.out.line(&text)?;
        Ok(Status::SUCCESS)
    }
}
