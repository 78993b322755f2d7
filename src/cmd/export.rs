//! `barge export`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::World;
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::Engine;
use crate::engine::images::whole_file;
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Answer, Host, Request, escape};

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
        self.check()?;
        let engine = world.power()?;
        match &self.output {
            Some(path) => whole_file(path, |file| write(&engine, file)),
            None => write(&engine, &mut world.out.stream()),
        }
    }

    /// As [`ArchiveTarget::write`], with what another host answers.
    pub(crate) fn write_answer(
        &self,
        world: &mut World,
        host: &Host,
        request: Request,
    ) -> Result<()> {
        self.check()?;
        save_answer(world, self.output.as_deref(), host.call(request)?)
    }

    fn check(&self) -> Result<()> {
        if self.output.is_none() && rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::new(
                Kind::Invalid,
                "refusing to export to terminal. Use -o flag or redirect",
            ));
        }
        Ok(())
    }
}

/// Writes what another host answers to a file, which is whole or not there, or to standard output.
pub(super) fn save_answer(
    world: &mut World,
    path: Option<&Path>,
    mut answer: Answer<'_>,
) -> Result<()> {
    let context = || "cannot write what the host sends";
    match path {
        Some(path) => {
            whole_file(path, |file| io::copy(&mut answer, file).context(context).map(drop))
        }
        None => {
            let copied = io::copy(&mut answer, &mut world.out.stream());
            copied.context(context)?;
            world.out.flush()
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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let path = format!("/containers/{}/export", escape(&self.container));
        self.target.write_answer(world, host, Request::get(path))?;
        Ok(Status::SUCCESS)
    }
}
