//! `barge manifest push`

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cmd::World;
use crate::cmd::access::AccessFlags;
use crate::cmd::exit::Status;
use crate::cmd::parse;
use crate::cmd::progress::Display;
use crate::cmd::signing::SigningFlags;
use crate::cmd::tree::Act;
use crate::engine::lists::{self, ListPushOptions, Words};
use crate::error::{Context, Result};

/// Push a manifest list to a registry
///
/// Its images go with it, as far as the registry does not have them. Without a destination it goes where its name says.
#[derive(Args, Debug)]
pub(crate) struct Push {
    #[command(flatten)]
    access: AccessFlags,
    /// Push the images of the list, too
    #[arg(
        long,
        value_name = "BOOL",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_parser = parse::truth
    )]
    all: bool,
    /// Write the digest of the list to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Write list and manifests in this form
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The same as --rm
    #[arg(short, long, hide = true)]
    purge: bool,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// Remove the list when it was pushed
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    signing: SigningFlags,
    /// List, by name or ID
    #[arg(value_name = "LIST", required = true)]
    list: String,
    /// Where to push it, as in quay.io/user/name:tag
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

/// A form of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// OCI's.
    Oci,
    /// Docker's.
    #[value(alias = "docker")]
    V2s2,
}

impl Act for Push {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let options = ListPushOptions {
            members: self.all,
            words: self.format.map(|format| match format {
                Format::Oci => Words::Oci,
                Format::V2s2 => Words::Docker,
            }),
            registry: self.access.options()?,
            signing: self.signing.options()?,
        };
        let engine = world.power()?;
        let display = Display::new(self.quiet);
        let to = self.destination.as_deref();
        let remove = self.rm || self.purge;
        let pushed = lists::push(engine.store(), &self.list, to, &options, remove, &display);
        display.finish();
        let (_, pushed) = pushed?;
        if let Some(path) = &self.digestfile {
            fs::write(path, pushed.digest.as_str())
                .context(|| format!("cannot write {}", path.display()))?;
        }
        world.out.line(pushed.digest.as_str())?;
        Ok(Status::SUCCESS)
    }
}
