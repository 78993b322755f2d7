//! `barge commit`

use std::fs;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::World;
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::CommitOptions;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::change::ImageChange;
use crate::spec::manifest::ManifestFormat;
use crate::spec::reference::Reference;

/// Make an image of what a container changed
///
/// The container stands still meanwhile, as with Docker, where that is possible.
/// What it has in volumes and other mounts is not part of it.
#[derive(Args, Debug)]
pub(crate) struct Commit {
    /// Say who makes it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// Change the image as a Dockerfile would
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<ImageChange>,
    /// Form of its manifest: oci or docker
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<ManifestFormat>,
    /// Write the image's ID to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Declare what is mounted in the container as volumes
    #[arg(long)]
    include_volumes: bool,
    /// Say something about it in its history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Let the container run on meanwhile
    #[arg(long, conflicts_with = "pause")]
    no_pause: bool,
    /// Let the container stand still meanwhile
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pause: Option<bool>,
    /// Print nothing but the image's ID
    #[arg(short, long)]
    quiet: bool,
    /// Make one layer of all, the image's included
    #[arg(short, long)]
    squash: bool,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER", required = true)]
    container: String,
    /// Name to give to the image
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Act for Commit {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.message.is_some() && self.format == Some(ManifestFormat::Oci) {
            return Err(Error::new(
                Kind::Invalid,
                "messages are only compatible with the docker image format (-f docker)",
            ));
        }
        let options = CommitOptions {
            name: self.name.as_deref().map(Reference::local).transpose()?,
            changes: self.change,
            author: self.author,
            message: self.message,
            pause: if self.no_pause { Some(false) } else { self.pause },
            squash: self.squash,
            include_volumes: self.include_volumes,
            format: self.format,
        };
        let engine = world.power()?;
        let (image, warnings) = engine.commit(&self.container, &options)?;
        if !self.quiet {
            warnings.iter().for_each(|warning| output::warning(warning));
        }
        if let Some(file) = &self.iidfile {
            fs::write(file, image.id.hex())
                .context(|| format!("cannot write the image's ID to {}", file.display()))?;
        }
        world.out.line(image.id.hex())?;
        Ok(Status::SUCCESS)
    }
}
