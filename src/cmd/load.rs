//! `barge load`

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::World;
use super::answers;
use super::exit::Status;
use super::host::refuse;
use super::progress::Display;
use super::tree::Act;
use crate::engine::images::{self, ArchiveSource, LoadOptions};
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Host, Request};
use crate::spec::platform::Platform;

/// Bytes that are read at a time.
const CHUNK: usize = 256 * 1024;

/// Load images from an archive
///
/// Archives and directories that docker save, podman save and skopeo write, compressed or not; standard input if none is named.
#[derive(Args, Debug)]
pub(crate) struct Load {
    /// Read this file, directory or address on the web
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Platform of the images, as in linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// File that says whose signatures images must have
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
}

impl Act for Load {
    fn act(self, world: &mut World) -> Result<Status> {
        let input = self.input()?;
        let (platform, signature_policy) = (self.platform.clone(), self.signature_policy.clone());
        let options = LoadOptions { platform, signature_policy };
        let engine = world.power()?;
        let display = Display::new(self.quiet);
        let store = engine.store();
        let address = input.and_then(Path::to_str).filter(|text| is_address(text));
        let loaded = match (address, input) {
            (Some(address), _) => images::load_from_web(store, address, &options, &display),
            (None, Some(path)) => {
                images::load(store, ArchiveSource::Path(path), &options, &display)
            }
            (None, None) => {
                let stream = Box::new(BufReader::with_capacity(CHUNK, std::io::stdin()));
                images::load(store, ArchiveSource::Stream(stream), &options, &display)
            }
        }?;
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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let input = self.input()?;
        let is_web = input.and_then(Path::to_str).is_some_and(is_address);
        refuse(&[
            ("an address on the web", is_web),
            ("a directory", input.is_some_and(Path::is_dir)),
            ("--signature-policy", self.signature_policy.is_some()),
        ])?;
        let mut source: Box<dyn Read + Send> = match input {
            Some(path) => {
                Box::new(File::open(path).context(|| format!("cannot open {}", path.display()))?)
            }
            None => Box::new(std::io::stdin()),
        };
        let request = Request::post("/images/load")
            .with("quiet", 1)
            .maybe("platform", self.platform.as_ref())
            .written("application/x-tar", move |out| {
                std::io::copy(&mut source, out).context(|| "cannot pass the archive on").map(drop)
            });
        for line in host.call(request)?.documents() {
            let line = line?;
            if let Some(text) = line["error"].as_str() {
                return Err(Error::new(Kind::Invalid, text));
            }
            // Some leave the line end out.
            match answers::text(&line, "stream").trim_end() {
                "" => {}
                text => world.out.line(text)?,
            }
        }
        Ok(Status::SUCCESS)
    }
}

impl Load {
    /// Returns the file; none if it is standard input.
    fn input(&self) -> Result<Option<&Path>> {
        let input = self.input.as_deref().filter(|path| path.as_os_str() != "-");
        if input.is_none() && rustix::termios::isatty(rustix::stdio::stdin()) {
            return Err(Error::new(
                Kind::Invalid,
                "cannot read from terminal, use command-line redirection or the --input flag",
            ));
        }
        Ok(input)
    }
}

fn is_address(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}
