//! `barge runtime create` and `run`

use std::path::PathBuf;

use clap::Args;

use super::{failed, protect};
use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::flags::preserve::PreserveFlags;
use crate::cmd::tree::Act;
use crate::engine::runtime::Creation;
use crate::error::Result;

/// What both take.
#[derive(Args, Debug)]
struct BundleFlags {
    /// Directory with config.json; the working directory if none
    #[arg(short, long, value_name = "PATH", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// Send the terminal to this socket
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,
    /// Leave it the keys of who starts it
    #[arg(long)]
    no_new_keyring: bool,
    /// Accepted; the root is always changed by pivot_root
    #[arg(long)]
    no_pivot: bool,
    /// Write the number of the first process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    #[command(flatten)]
    preserve: PreserveFlags,
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl BundleFlags {
    fn creation(self) -> Result<Creation> {
        Ok(Creation {
            passing: self.preserve.take_for_container()?,
            id: self.id,
            bundle: self.bundle,
            console_socket: self.console_socket,
            pid_file: self.pid_file,
            keeps_keys: self.no_new_keyring,
        })
    }
}

/// Make a container of a bundle; it waits for its start
///
/// The bundle is a directory with a config.json as the OCI runtime specification has it.
#[derive(Args, Debug)]
pub(super) struct Create {
    #[command(flatten)]
    flags: BundleFlags,
}

impl Act for Create {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        protect()?;
        let creation = self.flags.creation()?;
        let made = world.containers()?.create(&creation);
        for warning in made.map_err(failed("barge create failed"))? {
            world.warn(&warning);
        }
        Ok(Status::SUCCESS)
    }
}

/// Make a container of a bundle and start it
///
/// Unless it is left in the background, it gets our standard streams or terminal and our signals, and
/// is deleted when it has ended. The exit status is its own.
#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    flags: BundleFlags,
    /// Leave it in the background
    #[arg(short, long)]
    detach: bool,
    /// Do not delete it when it has ended
    #[arg(long)]
    keep: bool,
    /// Accepted; orphans are only reaped while it is waited for
    #[arg(long)]
    no_subreaper: bool,
}

impl Act for Run {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        protect()?;
        let creation = self.flags.creation()?;
        let runtime = world.containers()?;
        if self.detach {
            let ran = runtime.run_detached(&creation);
            for warning in ran.map_err(failed("barge run failed"))? {
                world.warn(&warning);
            }
            return Ok(Status::SUCCESS);
        }
        let ran = runtime.run(&creation, self.keep, &|warning| world.warn(warning));
        ran.map(Status::of_container).map_err(failed("barge run failed"))
    }
}
