//! `barge push`

use std::path::PathBuf;

use clap::Args;

use super::World;
use super::access::AccessFlags;
use super::exit::Status;
use super::progress::Display;
use super::signing::SigningFlags;
use super::tree::Act;
use crate::engine::images::{self, PushOptions};
use crate::error::{Context, Result};

/// Push an image to a registry
///
/// Without a destination it goes where its name says. The digest of its manifest is printed.
#[derive(Args, Debug)]
pub(crate) struct Push {
    #[command(flatten)]
    access: AccessFlags,
    /// Write the digest of the manifest to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    signing: SigningFlags,
    /// Image, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Where to push it, as in quay.io/user/name:tag
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

impl Act for Push {
    fn act(self, world: &mut World) -> Result<Status> {
        let options =
            PushOptions { registry: self.access.options()?, signing: self.signing.options()? };
        let engine = world.power()?;
        let display = Display::new(self.quiet);
        let destination = self.destination.as_deref();
        let pushed = images::push(engine.store(), &self.image, destination, &options, &display);
        display.finish();
        let (name, pushed) = pushed?;
        if let Some(path) = &self.digestfile {
            std::fs::write(path, pushed.digest.as_str())
                .context(|| format!("cannot write {}", path.display()))?;
        }
        if !self.quiet {
            let tag = name.tag_or_digest();
            world.out.line(&format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))?;
        }
        Ok(Status::SUCCESS)
    }
}
