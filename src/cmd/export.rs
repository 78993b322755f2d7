//! `barge export`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::World;
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::Engine;
use crate::engine::images::whole_file;
use crate::error::{Error, Kind, Result};

/// Write all files of a container to an archive
///
/// The archive goes to standard output, or to a file. What is mounted in the container, as volumes, is
/// not in it. The container may be running.
#[derive(Args, Debug)]
pub(crate) struct Export {
    #[command(flatten)]
    target: ArchiveTarget,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER", required = true)]
    container: String,
}

/// Where an archive of files goes.
#[derive(Args, Debug)]
pub(crate) struct ArchiveTarget {
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ArchiveTarget {
    /// Has an archive written to the file, which is whole or not there, or to standard output; not to a
    /// terminal.
    pub(crate) fn write<T>(
        &self,
        world: &mut World,
        write: impl FnOnce(&Engine, &mut dyn Write) -> Result<T>,
    ) -> Result<T> {
        if self.output.is_none() && rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::new(
                Kind::Invalid,
                "refusing to export to terminal. Use -o flag or redirect",
            ));
        }
        let engine = world.power()?;
        match &self.output {
            Some(path) => whole_file(path, |file| write(&engine, file)),
            None => write(&engine, &mut world.out.stream()),
        }
    }
}

impl Act for Export {
    fn act(self, world: &mut World) -> Result<Status> {
        let changed =
            self.target.write(world, |engine, out| engine.export(&self.container, out))?;
        for path in changed {
            output::warning(&format!("`{path}` changed while it was read"));
        }
        Ok(Status::SUCCESS)
    }
}
