//! `barge artifact pull` and `barge artifact push`

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::cmd::World;
use crate::cmd::access::AccessFlags;
use crate::cmd::exit::Status;
use crate::cmd::progress::Display;
use crate::cmd::tree::Act;
use crate::engine::artifacts;
use crate::engine::images::RegistryOptions;
use crate::error::{Context, Result};

/// Pull an artifact from a registry
///
/// The digest of its manifest is printed.
#[derive(Args, Debug)]
pub(crate) struct Pull {
    #[command(flatten)]
    access: AccessFlags,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// File that says whose signatures it must have
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
    /// Name of the artifact
    #[arg(value_name = "ARTIFACT", required = true)]
    artifact: String,
}

impl Act for Pull {
    const ONLY_HERE: &'static str = "Docker's API knows no artifacts";

    fn act(self, world: &mut World) -> Result<Status> {
        let signature_policy = self.signature_policy;
        let options = RegistryOptions { signature_policy, ..self.access.options()? };
        let engine = world.power()?;
        let display = Display::new(self.quiet);
        let pulled = artifacts::pull(engine.store(), &self.artifact, &options, &display);
        display.finish();
        world.out.line(pulled?.digest.hex())?;
        Ok(Status::SUCCESS)
    }
}

/// Push an artifact to a registry
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
    /// Artifact, by name or digest
    #[arg(value_name = "ARTIFACT", required = true)]
    artifact: String,
    /// Where to push it, as in quay.io/user/name:tag
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

impl Act for Push {
    const ONLY_HERE: &'static str = "Docker's API knows no artifacts";

    fn act(self, world: &mut World) -> Result<Status> {
        let options = self.access.options()?;
        let engine = world.power()?;
        let display = Display::new(self.quiet);
        let to = self.destination.as_deref();
        let pushed = artifacts::push(engine.store(), &self.artifact, to, &options, &display);
        display.finish();
        let digest = pushed?;
        if let Some(path) = &self.digestfile {
            fs::write(path, digest.as_str())
                .context(|| format!("cannot write {}", path.display()))?;
        }
        world.out.line(digest.hex())?;
        Ok(Status::SUCCESS)
    }
}
