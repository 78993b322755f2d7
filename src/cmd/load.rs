//! `barge load`

use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;

use super::World;
use super::exit::Status;
use super::progress::Display;
use super::tree::Act;
use crate::engine::images::{self, ArchiveSource};
use crate::error::{Error, Kind, Result};
use crate::spec::platform::Platform;

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
