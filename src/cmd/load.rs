//! `barge load`

use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;

use super::World;
use super::exit::Status;
use super::progress::Display;
use super::tree::Act;
use crate::engine::images::{self, ArchiveSource, LoadOptions};
use crate::error::{Error, Kind, Result};
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
        let input = self.input.as_deref().filter(|path| path.as_os_str() != "-");
        if input.is_none() && rustix::termios::isatty(rustix::stdio::stdin()) {
            return Err(Error::new(
                Kind::Invalid,
                "cannot read from terminal, use command-line redirection or the --input flag",
            ));
        }
        let options =
            LoadOptions { platform: self.platform, signature_policy: self.signature_policy };
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
}

fn is_address(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}
