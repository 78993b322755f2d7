//! `barge import`

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use clap::Args;

use super::World;
use super::answers::{self, RemoteName};
use super::commit::Change;
use super::exit::Status;
use super::host::refuse;
use super::progress::Display;
use super::tree::Act;
use crate::engine::images::{self, ImportOptions, ImportSource};
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Host, Request};
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
    change: Vec<Change>,
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
        if is_web(file) {
            return Ok(ImportSource::Url(file));
        }
        if file != "-" {
            let file = File::open(file).context(|| format!("cannot open {file}"))?;
            return Ok(ImportSource::Stream(Box::new(BufReader::with_capacity(CHUNK, file))));
        }
        refuse_terminal()?;
        let input = BufReader::with_capacity(CHUNK, io::stdin());
        Ok(ImportSource::Stream(Box::new(input)))
    }
}

fn is_web(file: &str) -> bool {
    file.starts_with("http://") || file.starts_with("https://")
}

fn refuse_terminal() -> Result<()> {
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        return Err(Error::new(
            Kind::Invalid,
            "cannot read from terminal, use command-line redirection",
        ));
    }
    Ok(())
}

impl Act for Import {
    fn act(self, world: &mut World) -> Result<Status> {
        let name = self.name.as_deref().map(Reference::local).transpose()?;
        let platform = self.platform()?;
        let source = self.source()?;
        let engine = world.power()?;
        let options = ImportOptions {
            name,
            changes: self.change.iter().map(|change| change.0.clone()).collect(),
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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("--signature-policy", self.signature_policy.is_some())])?;
        let name = self.name.as_deref().map(RemoteName::new);
        let platform = self.platform()?;
        let mut request = Request::post("/images/create")
            .maybe("repo", name.map(|name| name.repository))
            .maybe("tag", name.and_then(|name| name.tag))
            .maybe("message", self.message.as_ref())
            .maybe("platform", platform);
        for change in &self.change {
            request = request.with("changes", change);
        }
        let file = self.file.as_str();
        request = if is_web(file) {
            request.with("fromSrc", file)
        } else {
            let mut source: Box<dyn Read + Send> = match file {
                "-" => {
                    refuse_terminal()?;
                    Box::new(io::stdin())
                }
                file => Box::new(File::open(file).context(|| format!("cannot open {file}"))?),
            };
            request.with("fromSrc", "-").written("application/x-tar", move |out| {
                io::copy(&mut source, out).context(|| "cannot pass the archive on").map(drop)
            })
        };
        let mut id = String::new();
        for line in host.call(request)?.documents() {
            let line = line?;
            if let Some(text) = line["error"].as_str() {
                return Err(Error::new(Kind::Invalid, text));
            }
            // The last word is what was made.
            answers::text(&line, "status").clone_into(&mut id);
        }
        world.out.line(&id)?;
        Ok(Status::SUCCESS)
    }
}
