//! `barge unshare`

use clap::Args;

use super::World;
use super::exit::Status;
use super::tree::Act;
use crate::error::{Error, Kind, Result};

/// Run a command as the user that containers without root see
///
/// In the user namespace of your containers and with mounts of its own: there you are root over the
/// files of their users. Without a command, your shell is run.
#[derive(Args, Debug)]
pub(crate) struct Unshare {
    /// Join the network of all containers; there is no such thing
    #[arg(long)]
    rootless_netns: bool,
    /// Command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Act for Unshare {
    const ONLY_HERE: &'static str = "it is about the IDs of a user of this machine";

    fn act(self, world: &mut World) -> Result<Status> {
        if self.rootless_netns {
            return Err(Error::new(
                Kind::Unsupported,
                "there is no network namespace that all containers without root share",
            )
            .hint("each has its own: nsenter -t $(barge inspect -f '{{.State.Pid}}' NAME) -U -n"));
        }
        let mut command = self.command;
        if command.is_empty() {
            command.push(std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned()));
        }
        let Err(error) = world.power()?.unshare(&command);
        Err(error)
    }
}
