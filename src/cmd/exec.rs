//! `barge exec`

mod remote;

use std::path::PathBuf;

use clap::Args;

use super::World;
use super::connect::{check_terminal, detach_keys};
use super::exit::Status;
use super::flags::preserve::PreserveFlags;
use super::tree::Act;
use super::{containers, environment};
use crate::engine::ExecSpec;
use crate::error::{Error, Kind, Result};
use crate::remote::Host;
use crate::spec::keys::DetachKeys;

/// Run a command in a running container
///
/// The exit status is that of the command; 125 if barge failed, 126 if the command cannot be
/// executed, 127 if it was not found.
#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// Read the container's ID from this file
    #[arg(long, value_name = "FILE", conflicts_with = "latest")]
    cidfile: Option<PathBuf>,
    /// Leave it in the background
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave the command running
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// Set a variable, or take over your own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read variables from this file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Let it do everything
    #[arg(long)]
    privileged: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    #[command(flatten)]
    preserve: PreserveFlags,
    /// User to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<PathBuf>,
    /// Container, then the command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CONTAINER")]
    words: Vec<String>,
}

impl Act for Exec {
    fn act(self, world: &mut World) -> Result<Status> {
        let passed = self.preserve.take()?;
        let mut command = self.words;
        let named = match &self.cidfile {
            Some(file) => Some(containers::read_id(file)?),
            None if self.latest => None,
            None => Some(command.remove(0)),
        };
        if command.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "must provide a non-empty command to start an exec session: invalid argument",
            ));
        }
        let engine = world.power()?;
        let name = match named {
            Some(name) => name,
            None => containers::latest(&engine)?,
        };
        check_terminal(self.tty && !self.detach, self.interactive);
        let typed = self.tty && self.interactive && !self.detach;
        let spec = ExecSpec {
            command,
            env: environment::read(&self.env_file, &self.env)?,
            user: self.user,
            working_dir: self.workdir,
            tty: self.tty,
            interactive: self.interactive,
            detach: self.detach,
            privileged: self.privileged,
            detach_keys: detach_keys(world, self.detach_keys, typed)?,
            files: Vec::new(),
            session: None,
            probe: None,
        };
        // On success this process becomes the one that watches over the command.
        match engine.exec(&name, spec, &passed)? {}
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.exec_on(host, world)
    }
}
