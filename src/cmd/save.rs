//! `barge save`

use std::path::PathBuf;

use clap::Args;

use super::World;
use super::exit::Status;
use super::export::save_answer;
use super::host::refuse;
use super::progress::Display;
use super::tree::Act;
use crate::engine::images::{self, Form, SaveFormat, SaveTarget};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request};
use crate::spec::compression::Compression;
use crate::spec::manifest::ManifestFormat;

/// Save images to an archive
///
/// The archive goes to standard output, or to a file. Formats: docker-archive, oci-archive; directories:
/// oci-dir, docker-dir. A word behind the first that is no image becomes another name of the first image.
#[derive(Args, Debug)]
pub(crate) struct Save {
    /// Compress the layers of a docker-dir
    #[arg(long)]
    compress: bool,
    /// Write docker-archive, oci-archive, oci-dir or docker-dir
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    format: SaveFormat,
    /// Take all words for images
    #[arg(short, long)]
    multi_image_archive: bool,
    /// Write to this file or directory
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// Leave layers as they are that are not compressed
    #[arg(long)]
    uncompressed: bool,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Save {
    fn check(&self) -> Result<()> {
        let to_stream = self.output.is_none() && !self.format.is_directory();
        if to_stream && rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::new(
                Kind::Invalid,
                "refusing to save to terminal. Use -o flag or redirect",
            ));
        }
        Ok(())
    }

    fn form(&self) -> Result<Form> {
        if self.compress && self.format != SaveFormat::DockerDir {
            return Err(Error::new(Kind::Invalid, "--compress is for --format docker-dir"));
        }
        let (manifest, packed) = match self.format {
            SaveFormat::DockerArchive => (None, false),
            SaveFormat::DockerDir => (Some(ManifestFormat::Docker), self.compress),
            SaveFormat::OciArchive | SaveFormat::OciDir => {
                (Some(ManifestFormat::Oci), !self.uncompressed)
            }
        };
        let compression = if packed { Compression::Gzip } else { Compression::None };
        Ok(Form { format: manifest, compression: Some(compression), ..Form::default() })
    }
}

impl Act for Save {
    fn act(self, world: &mut World) -> Result<Status> {
        let form = self.form()?;
        self.check()?;
        let engine = world.power()?;
        // Names of layers among the bytes of the archive help nobody.
        let display = Display::new(self.quiet);
        let mut stream = world.out.stream();
        let target = match &self.output {
            Some(path) => SaveTarget::Path(path),
            None => SaveTarget::Stream(&mut stream),
        };
        let (words, only_images) = (&self.images, self.multi_image_archive);
        let saved =
            images::save(engine.store(), words, only_images, self.format, &form, target, &display);
        display.finish();
        saved?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.form()?;
        refuse(&[
            ("--compress", self.compress),
            ("any --format but docker-archive", self.format != SaveFormat::DockerArchive),
        ])?;
        self.check()?;
        let request = self
            .images
            .iter()
            .fold(Request::get("/images/get"), |request, name| request.with("names", name));
        save_answer(world, self.output.as_deref(), host.call(request)?)?;
        Ok(Status::SUCCESS)
    }
}
