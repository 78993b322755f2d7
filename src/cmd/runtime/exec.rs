//! `barge runtime exec`

use std::path::PathBuf;

use clap::Args;

use super::{failed, protect};
use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::flags::preserve::PreserveFlags;
use crate::cmd::tree::Act;
use crate::engine::runtime::{Addition, Changes, What};
use crate::error::{Error, Kind, Result};

/// Run one more process in a container
///
/// What nothing is said of is as with the container's own process. The exit status is that of the
/// process, or 255 if it could not be started.
#[derive(Args, Debug)]
pub(super) struct Exec {
    /// Add a group, by number
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// AppArmor profile
    #[arg(long, value_name = "NAME")]
    apparmor: Option<String>,
    /// Add a capability
    #[arg(short, long, value_name = "NAME")]
    cap: Vec<String>,
    /// Run it in a control group below the container's
    #[arg(long, value_name = "[CONTROLLER,...:]PATH")]
    cgroup: Vec<String>,
    /// Send the terminal to this socket
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,
    /// Directory to start in
    #[arg(long, value_name = "PATH")]
    cwd: Option<PathBuf>,
    /// Leave it in the background
    #[arg(short, long)]
    detach: bool,
    /// Set a variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Do it even if the container is paused
    #[arg(long)]
    ignore_paused: bool,
    /// Let programs gain nothing by being executed
    #[arg(long)]
    no_new_privs: bool,
    /// Write the number of the process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    #[command(flatten)]
    preserve: PreserveFlags,
    /// Read what to run from this file
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// User to run as, by number
    #[arg(short, long, value_name = "UID[:GID]", value_parser = user)]
    user: Option<(u32, Option<u32>)>,
    /// Container, then the command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CONTAINER")]
    words: Vec<String>,
}

/// Reads `UID[:GID]`.
fn user(text: &str) -> std::result::Result<(u32, Option<u32>), &'static str> {
    let number = |text: &str| text.parse().map_err(|_| "it is not UID[:GID]");
    match text.split_once(':') {
        None => Ok((number(text)?, None)),
        Some((user, group)) => Ok((number(user)?, Some(number(group)?))),
    }
}

impl Exec {
    fn addition(self) -> Result<Addition> {
        let invalid = |text: &str| Error::new(Kind::Invalid, text);
        let mut words = self.words.into_iter();
        let id = words.next().unwrap_or_default();
        let command: Vec<String> = words.collect();
        let what = match self.process {
            Some(path) => What::File(path),
            None if command.is_empty() => {
                return Err(invalid("process args cannot be empty"));
            }
            None => What::Changed(Changes {
                command,
                env: self.env,
                cwd: self.cwd,
                user: self.user,
                groups: self.additional_gids,
                tty: self.tty,
                capabilities: self.cap,
                no_new_privileges: self.no_new_privs,
                apparmor: self.apparmor,
                label: self.process_label,
            }),
        };
        Ok(Addition {
            id,
            what,
            cgroups: self.cgroup,
            detach: self.detach,
            ignore_paused: self.ignore_paused,
            console_socket: self.console_socket,
            pid_file: self.pid_file,
            passing: self.preserve.take_for_container()?,
        })
    }
}

impl Act for Exec {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        protect()?;
        let ran = self.addition().and_then(|addition| world.containers()?.exec(&addition));
        match ran.map_err(failed("exec failed")) {
            Ok(code) => Ok(Status::of_container(code)),
            Err(error) => {
                if let Some(flags) = &world.runtime {
                    flags.report(&error);
                }
                Ok(Status::of_container(255))
            }
        }
    }
}
