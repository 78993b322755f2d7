//! `barge artifact add` and `barge artifact extract`

use std::path::PathBuf;

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::artifacts::{self, AddOptions, Choice};
use crate::error::{Error, Kind, Result};
use crate::spec::oci::Annotation;

/// Make an artifact of files
///
/// The digest of its manifest is printed.
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// Annotate the files, and an artifact that is new
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<Annotation>,
    /// Add to an artifact that is there
    #[arg(short, long)]
    append: bool,
    /// Media type of the files; found out if not given
    #[arg(long, value_name = "TYPE")]
    file_type: Option<String>,
    /// Take the place of an artifact of this name
    #[arg(long)]
    replace: bool,
    /// Kind of the artifact, as a media type
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// Name of the artifact
    #[arg(value_name = "ARTIFACT", required = true)]
    artifact: String,
    /// Files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

impl Act for Add {
    const ONLY_HERE: &'static str = "Docker's API knows no artifacts";

    fn act(self, world: &mut World) -> Result<Status> {
        let options = AddOptions {
            annotations: self.annotation.into_iter().map(|it| (it.name, it.value)).collect(),
            kind: self.r#type,
            file_type: self.file_type,
            append: self.append,
            replace: self.replace,
            ..AddOptions::default()
        };
        let engine = world.power()?;
        let artifact = artifacts::add(engine.store(), &self.artifact, &self.files, options)?;
        world.out.line(artifact.digest.hex())?;
        Ok(Status::SUCCESS)
    }
}

/// Copy the files of an artifact to a directory or a file
///
/// Files that are there already are overwritten.
#[derive(Args, Debug)]
pub(crate) struct Extract {
    /// Only the file with this digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Only the file with this name
    #[arg(long, value_name = "NAME")]
    title: Option<String>,
    /// Artifact, by name or digest
    #[arg(value_name = "ARTIFACT", required = true)]
    artifact: String,
    /// Directory, or file for the only one
    #[arg(value_name = "PATH", required = true)]
    path: PathBuf,
}

impl Act for Extract {
    const ONLY_HERE: &'static str = "Docker's API knows no artifacts";

    fn act(self, world: &mut World) -> Result<Status> {
        let choice = match (self.digest, self.title) {
            (None, None) => Choice::All,
            (Some(digest), None) => Choice::Digest(digest),
            (None, Some(title)) => Choice::Title(title),
            (Some(_), Some(_)) => {
                return Err(Error::new(Kind::Invalid, "cannot specify both digest and title"));
            }
        };
        let engine = world.engine()?;
        artifacts::extract(engine.store(), &self.artifact, &self.path, &choice)?;
        Ok(Status::SUCCESS)
    }
}
