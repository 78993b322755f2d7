//! `barge load` and `barge import`

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;

use super::World;
use super::exit::Status;
use super::progress::Display;
use super::tree::Act;
use crate::engine::images::{self, ArchiveSource, ImportOptions};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::change::ImageChange;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;

/// Bytes that are read at a time.
const CHUNK: usize = 256 * 1024;

/// Load images from an archive
///
/// Archives and directories that docker save, podman save and skopeo write, compressed or not.
#[derive(Args, Debug)]
pub(crate) struct Load {
    /// Read this file instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Platform of the images, as in linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
}

impl Act for Load {
    fn act(self, world: &mut World) -> Result<Status> {
        let source = match &self.input {
            Some(path) if path.as_os_str() != "-" => ArchiveSource::Path(path),
            _ if rustix::termios::isatty(rustix::stdio::stdin()) => {
                return Err(Error::new(
                    Kind::Invalid,
                    "cannot read from terminal, use command-line redirection or the --input flag",
                ));
            }
            _ => ArchiveSource::Stream(Box::new(BufReader::with_capacity(CHUNK, std::io::stdin()))),
        };
        let engine = world.power()?;
        let display = Display::new(self.quiet);
        let loaded = images::load(engine.store(), source, self.platform.as_ref(), &display)?;
        display.finish();
        for named in loaded {
            if named.names.is_empty() {
                world.out.line(&format!("Loaded image: sha256:{}", named.image.id.hex()))?;
            }
            for name in named.names {
                world.out.line(&format!("Loaded image: {name}"))?;
            }
        }
        Ok(Status::SUCCESS)
    }
}

/// Make an image from the archive of a root file system
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Change the image as a Dockerfile would
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<ImageChange>,
    /// Say something about it in its history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Platform of the image, as in linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// File, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    file: PathBuf,
    /// Name to give to the image
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Act for Import {
    fn act(self, world: &mut World) -> Result<Status> {
        let name = self.name.as_deref().map(Reference::local).transpose()?;
        let options = ImportOptions {
            name,
            changes: self.change,
            message: self.message,
            platform: self.platform,
        };
        let engine = world.power()?;
        let display = Display::new(self.quiet);
        let image = if self.file.as_os_str() == "-" {
            let input = BufReader::with_capacity(CHUNK, std::io::stdin());
            images::import(engine.store(), input, &options, &display)?
        } else {
            let file = File::open(&self.file)
                .context(|| format!("cannot open {}", self.file.display()))?;
            let input = BufReader::with_capacity(CHUNK, file);
            images::import(engine.store(), input, &options, &display)?
        };
        display.finish();
        world.out.line(&format!("sha256:{}", image.id.hex()))?;
        Ok(Status::SUCCESS)
    }
}
