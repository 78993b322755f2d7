//! `barge image diff`

use clap::Args;

use super::World;
use super::diff;
use super::exit::Status;
use super::tree::Act;
use crate::engine::images;
use crate::error::Result;

/// Show what the top layer of an image changes
///
/// Or how it differs from a second image. A is added, C changed, D deleted.
#[derive(Args, Debug)]
pub(crate) struct ImageDiff {
    /// Print it as json
    #[arg(long, value_name = "FORMAT", value_parser = ["json", ""])]
    format: Option<String>,
    /// Image, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Image to compare it with
    #[arg(value_name = "OTHER")]
    other: Option<String>,
}

impl Act for ImageDiff {
    const ONLY_HERE: &'static str = "Docker's API tells what containers have changed, not images";

    fn act(self, world: &mut World) -> Result<Status> {
        // Layers may have directories that only their owners can look into.
        let engine = world.power()?;
        let changes = images::diff(engine.store(), &self.image, self.other.as_deref())?;
        diff::print(&mut world.out, &changes, self.format.as_deref())
    }
}
