//! `barge image scp`

use clap::Args;

use super::World;
use super::exit::Status;
use super::tree::Act;
use crate::engine::images;
use crate::error::Result;
use crate::spec::place::{ImagePlace, StorePlace};

/// Copy an image to or from another machine or user
///
/// The image of another machine is HOST::IMAGE, that of another user USER@localhost::IMAGE. A destination
/// is written the same way, without an image; without any it is this store.
#[derive(Args, Debug)]
pub(crate) struct ImageScp {
    /// Do not show what was loaded
    #[arg(short, long)]
    quiet: bool,
    /// Image, here or elsewhere
    #[arg(value_name = "SOURCE", required = true)]
    source: ImagePlace,
    /// Where it goes, as in me@example.org::
    #[arg(value_name = "DESTINATION")]
    destination: Option<ImagePlace>,
}

impl Act for ImageScp {
    const ONLY_HERE: &'static str = "it names its hosts itself, as in HOST::IMAGE";

    fn act(self, world: &mut World) -> Result<Status> {
        let here = ImagePlace { store: StorePlace::Here, image: None };
        let destination = self.destination.unwrap_or(here);
        let engine = world.engine()?;
        let loaded = images::scp(&engine, &self.source, &destination)?;
        if !self.quiet {
            world.out.text(&loaded)?;
        }
        Ok(Status::SUCCESS)
    }
}
