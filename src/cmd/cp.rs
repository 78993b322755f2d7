//! `barge cp`

mod remote;

use std::io;

use clap::{ArgAction, Args};

use super::World;
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::copying::{ContainerPath, CopyOptions};
use crate::error::{Error, Kind, Result};
use crate::remote::Host;
use crate::spec::copy::CopyPlace;

/// Copy files from and to containers
///
/// Each side is a path of this machine, CONTAINER:PATH, or - for a tar archive on standard input or
/// output. A path in a container begins at its working directory if it is relative. The container may
/// be running or not; what is mounted in it counts, but for what exists only while it runs.
///
/// A directory is copied into one that is there, or becomes one that is not; with /. at its end, what
/// is in it is copied. A file is copied into a directory that is there, or replaces a file. The
/// directory that a copy is made in must be there. A link that is named is copied as a link; with a
/// slash behind it, the directory that it leads to is.
///
/// Copies keep modes, times, extended attributes, holes and hard links. They belong to the
/// container's user, or to you if they leave it; programs of others do not stay set-user-ID then, and
/// devices are left out.
#[derive(Args, Debug)]
pub(crate) struct Cp {
    /// Give copies to the container's user; false keeps owners
    #[arg(
        short,
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        action = ArgAction::Set,
        value_parser = super::parse::truth
    )]
    archive: bool,
    /// Copy what a link leads to that is named as the source
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Let directories and other files replace each other
    #[arg(long)]
    overwrite: bool,
    /// Print nothing but errors (nothing else is printed anyway)
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, PATH or -
    #[arg(value_name = "SOURCE", required = true)]
    source: CopyPlace,
    /// CONTAINER:PATH, PATH or -
    #[arg(value_name = "TARGET", required = true)]
    target: CopyPlace,
}

impl Act for Cp {
    fn act(self, world: &mut World) -> Result<Status> {
        let options = CopyOptions {
            keep_owners: !self.archive,
            follow_link: self.follow_link,
            overwrite: self.overwrite,
        };
        refuse_terminal(&self.target)?;
        let engine = world.power()?;
        let warnings = match (&self.source, &self.target) {
            (CopyPlace::Host(from), CopyPlace::Container { name, path }) => {
                engine.copy_in(from, ContainerPath { name, path }, options)?
            }
            (CopyPlace::Container { name, path }, CopyPlace::Host(to)) => {
                engine.copy_out(ContainerPath { name, path }, to, options)?
            }
            (
                CopyPlace::Container { name, path },
                CopyPlace::Container { name: to, path: to_path },
            ) => {
                let to = ContainerPath { name: to, path: to_path };
                engine.copy_across(ContainerPath { name, path }, to, options)?
            }
            (CopyPlace::Container { name, path }, CopyPlace::Stream) => {
                let from = ContainerPath { name, path };
                engine.copy_to_archive(from, self.follow_link, &mut world.out.stream())?
            }
            (CopyPlace::Stream, CopyPlace::Container { name, path }) => {
                let to = ContainerPath { name, path };
                let stdin = io::stdin().lock();
                engine.copy_from_archive(stdin, to, options)?
            }
            (CopyPlace::Host(_) | CopyPlace::Stream, CopyPlace::Host(_) | CopyPlace::Stream) => {
                return Err(no_container());
            }
        };
        for warning in warnings {
            output::warning(&warning);
        }
        Ok(Status::SUCCESS)
    }
    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.copy_on(host, world)
    }
}

fn refuse_terminal(target: &CopyPlace) -> Result<()> {
    if *target == CopyPlace::Stream && rustix::termios::isatty(rustix::stdio::stdout()) {
        return Err(Error::new(Kind::Invalid, "refusing to write an archive to a terminal")
            .hint("redirect it, as in > files.tar"));
    }
    Ok(())
}

fn no_container() -> Error {
    Error::new(Kind::Invalid, "at least one side of a copy must be in a container")
        .hint("write CONTAINER:PATH")
}
