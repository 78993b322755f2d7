//! `barge commit`

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args};

use super::World;
use super::answers::{self, RemoteName};
use super::exit::Status;
use super::host::refuse;
use super::output;
use super::tree::Act;
use crate::engine::CommitOptions;
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Host, Request};
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
    change: Vec<Change>,
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

/// A change, and how it was written.
#[derive(Clone, Debug)]
pub(super) struct Change(pub(super) ImageChange, String);

impl FromStr for Change {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(text.parse()?, text.to_owned()))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
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
            changes: self.change.into_iter().map(|change| change.0).collect(),
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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[
            ("--squash", self.squash),
            ("--include-volumes", self.include_volumes),
            ("--format oci", self.format == Some(ManifestFormat::Oci)),
        ])?;
        let name = self.name.as_deref().map(RemoteName::new);
        let pause = if self.no_pause { Some(false) } else { self.pause };
        let mut request = Request::post("/commit")
            .with("container", &self.container)
            .maybe("repo", name.map(|name| name.repository))
            .maybe("tag", name.and_then(|name| name.tag))
            .maybe("comment", self.message.as_ref())
            .maybe("author", self.author.as_ref())
            .maybe("pause", pause.map(u8::from));
        for change in &self.change {
            request = request.with("changes", change);
        }
        let made = host.document(request)?;
        let id = answers::hex(answers::text(&made, "Id"));
        if let Some(file) = &self.iidfile {
            fs::write(file, id)
                .context(|| format!("cannot write the image's ID to {}", file.display()))?;
        }
        world.out.line(id)?;
        Ok(Status::SUCCESS)
    }
}
