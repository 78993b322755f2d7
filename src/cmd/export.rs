//! `barge export`

use std::path::PathBuf;

use clap::Args;

use super::World;
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::images::whole_file;
use crate::error::{Error, Kind, Result};

/// Write all files of a container to an archive
///
/// The archive goes to standard output, or to a file. What is mounted in the container, as volumes, is
/// not in it. The container may be running.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER", required = true)]
    container: String,
}

impl Act for Export {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.output.is_none() && rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::new(
                Kind::Invalid,
                "refusing to export to terminal. Use -o flag or redirect",
            ));
        }
        let engine = world.power()?;
        let changed = match &self.output {
            Some(path) => whole_file(path, |file| engine.export(&self.container, file))?,
            None => engine.export(&self.container, &mut world.out.stream())?,
        };
        for path in changed {
            output::warning(&format!("`{path}` changed while it was read"));
        }
        Ok(Status::SUCCESS)
    }
}
