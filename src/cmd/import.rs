//! `barge import`

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;

use super::World;
use super::exit::Status;
use super::progress::Display;
use super::tree::Act;
use crate::engine::images::{self, ImportOptions, ImportSource};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::change::ImageChange;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;

/// Bytes that are read at a time.
const CHUNK: usize = 256 * 1024;

/// Make an image from the archive of a root file system
///
/// The archive may be compressed. It is read from a file, from the web, or from standard input.
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Processor that the image is for, as in arm64
    #[arg(long, value_name = "ARCH", conflicts_with = "platform")]
    arch: Option<String>,
    /// Change the image as a Dockerfile would
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<ImageChange>,
    /// Say something about it in its history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Operating system that the image is for
    #[arg(long, value_name = "OS", conflicts_with = "platform")]
    os: Option<String>,
    /// Platform of the image, as in linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// File that says whose signatures images must have
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
    /// Variant of the processor, as in v8
    #[arg(long, value_name = "VARIANT", conflicts_with = "platform")]
    variant: Option<String>,
    /// File, address on the web, or - for standard input
    #[arg(value_name = "FILE", required = true)]
    file: String,
    /// Name to give to the image
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Import {
    fn platform(&self) -> Result<Option<Platform>> {
        if self.os.is_none() && self.arch.is_none() && self.variant.is_none() {
            return Ok(self.platform.clone());
        }
        let host = Platform::host();
        let os = self.os.as_ref().unwrap_or(&host.os);
        let architecture = self.arch.as_ref().unwrap_or(&host.architecture);
        let variant = self.variant.as_ref().map(|it| format!("/{it}")).unwrap_or_default();
        format!("{os}/{architecture}{variant}").parse().map(Some)
    }

    fn source(&self) -> Result<ImportSource<'_>> {
        let file = self.file.as_str();
        if file.starts_with("http://") || file.starts_with("https://") {
            return Ok(ImportSource::Url(file));
        }
        if file != "-" {
            let file = File::open(file).context(|| format!("cannot open {file}"))?;
            return Ok(ImportSource::Stream(Box::new(BufReader::with_capacity(CHUNK, file))));
        }
        if rustix::termios::isatty(rustix::stdio::stdin()) {
            return Err(Error::new(
                Kind::Invalid,
                "cannot read from terminal, use command-line redirection",
            ));
        }
        let input = BufReader::with_capacity(CHUNK, std::io::stdin());
        Ok(ImportSource::Stream(Box::new(input)))
    }
}

impl Act for Import {
    fn act(self, world: &mut World) -> Result<Status> {
        let name = self.name.as_deref().map(Reference::local).transpose()?;
        let platform = self.platform()?;
        let source = self.source()?;
        let engine = world.power()?;
        let options = ImportOptions {
            name,
            changes: self.change.clone(),
            message: self.message.clone(),
            platform,
            signature_policy: self.signature_policy.clone(),
        };
        let display = Display::new(self.quiet);
        let image = images::import(engine.store(), source, &options, &display)?;
        display.finish();
        world.out.line(&format!("sha256:{}", image.id.hex()))?;
        Ok(Status::SUCCESS)
    }
}
