//! `barge artifact rm`

use clap::Args;

use crate::cmd::World;
use crate::cmd::containers::for_each;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::artifacts;
use crate::error::{Error, Kind, Result};

/// Remove artifacts
///
/// The digest of each is printed.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Remove all artifacts
    #[arg(short, long)]
    all: bool,
    /// Do not complain about artifacts that are not there
    #[arg(short, long)]
    ignore: bool,
    /// Artifacts, by name or digest
    #[arg(value_name = "ARTIFACT")]
    artifacts: Vec<String>,
}

impl Act for Rm {
    const ONLY_HERE: &'static str = "Docker's API knows no artifacts";

    fn act(self, world: &mut World) -> Result<Status> {
        if self.all && !self.artifacts.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "when using the --all switch, you may not pass any artifact names or digests",
            ));
        }
        if !self.all && self.artifacts.is_empty() {
            return Err(Error::new(Kind::Invalid, "an artifact name or digest must be specified"));
        }
        let engine = world.power()?;
        if self.all {
            for digest in artifacts::remove_all(engine.store())? {
                world.out.line(digest.hex())?;
            }
            return Ok(Status::SUCCESS);
        }
        for_each(world, &self.artifacts, Status::of_error, |world, name| {
            match artifacts::remove(engine.store(), name) {
                Err(error) if self.ignore && error.kind() == Kind::NotFound => Ok(()),
                removed => world.out.line(removed?.hex()),
            }
        })
    }
}
