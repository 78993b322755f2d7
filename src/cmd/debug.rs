//! `barge debug`

use std::path::PathBuf;

use clap::Args;

use super::World;
use super::connect::{ConnectFlags, Wanted, check_terminal};
use super::exit::Status;
use super::pull::PullFlags;
use super::tree::Act;
use super::{containers, environment, output};
use crate::engine::{DebugSpec, RemoveOptions, hold_signals};
use crate::error::{Error, Kind, Result};
use crate::spec::container::Debugged;

/// Look into a container with tools that it does not have
///
/// A shell, or the command, runs in the process, network, IPC, host name, control group and user namespaces of the container and within its limits, with files and tools of another image. The files of the container are in /container. The container gets nothing of it and cannot look into it; it may look at its own processes and files only.
///
/// Of a container that does not run, the files can be seen but not changed.
/// The exit status is that of the command; 125 if barge failed, 126 if the command cannot be
/// executed, 127 if it was not found.
#[derive(Args, Debug)]
pub(crate) struct Debug {
    /// Let the shell run this text
    #[arg(short, long, value_name = "TEXT")]
    command: Option<String>,
    #[command(flatten)]
    connect: ConnectFlags,
    /// Set a variable, or take over your own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Image with the tools; builtin/host is this machine
    #[arg(long, value_name = "IMAGE", default_value = "builtin/host")]
    image: String,
    /// Pass standard input on, also to a command
    #[arg(short, long)]
    interactive: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Let it do everything
    #[arg(long)]
    privileged: bool,
    #[command(flatten)]
    pull: PullFlags,
    /// Shell to run; bash if the image has it, else sh
    #[arg(long, value_name = "SHELL", default_value = "auto", hide_default_value = true)]
    shell: String,
    /// Give it a terminal; a shell has one if you have
    #[arg(short, long)]
    tty: bool,
    /// User of the image with the tools to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<PathBuf>,
    /// Container, then a command and its arguments
    #[arg(trailing_var_arg = true, value_name = "CONTAINER")]
    words: Vec<String>,
}

/// Becomes a shell that an image has. What is to be run is its first argument.
const ANY_SHELL: &str = r#"command -v bash >/dev/null 2>&1 && exec bash "$@"; exec sh "$@""#;

impl Act for Debug {
    const ONLY_HERE: &'static str = "Docker's API runs programs of a container only";

    fn act(self, world: &mut World) -> Result<Status> {
        let mut words = self.words;
        if words.is_empty() && !self.latest {
            let text = "you must provide the name or ID of a container";
            return Err(Error::new(Kind::Invalid, text));
        }
        let named = (!self.latest).then(|| words.remove(0));
        if self.command.is_some() && !words.is_empty() {
            let text = "--command cannot be set together with a command behind the container";
            return Err(Error::new(Kind::Invalid, text));
        }
        let is_shell = words.is_empty();
        let text = self.command.as_deref();
        let is_terminal = rustix::termios::isatty(rustix::stdio::stdin());
        let tty = self.tty || is_shell && text.is_none() && is_terminal;
        let interactive = self.interactive || is_shell && text.is_none();
        let command = if is_shell { shell(&self.shell, text) } else { words };
        let mut image = self.image;
        let engine = world.power()?;
        let name = match named {
            Some(name) => name,
            None => containers::latest(&engine)?,
        };
        check_terminal(tty, interactive);
        self.pull.ensure(&engine, &mut image)?;
        let spec = DebugSpec {
            image,
            platform: self.pull.platform()?,
            command,
            env: environment::read(&[] as &[PathBuf], &self.env)?,
            user: self.user,
            working_dir: self.workdir,
            tty,
            interactive,
            privileged: self.privileged,
        };
        hold_signals()?;
        let id = engine.create_debug(&name, &spec)?;
        let session = match engine.start(&id, Some(&self.connect.attach(tty))) {
            Ok(Some(session)) => session,
            Ok(None) => {
                return Err(Error::new(Kind::Conflict, format!("container {id} was started")));
            }
            Err(error) => {
                // The failure to report is the first one.
                let options = RemoveOptions { force: true, ..RemoveOptions::default() };
                drop(engine.remove(id.as_str(), options));
                return Err(error);
            }
        };
        if tty && is_shell {
            output::note(&format!("The files of {name} are in {}.", Debugged::PLACE));
        }
        let wanted = Wanted { stdin: interactive, stdout: true, stderr: true };
        Ok(self.connect.follow(world, session, tty, wanted)?.unwrap_or(Status::SUCCESS))
    }
}

/// Returns the words that start a shell.
fn shell(name: &str, text: Option<&str>) -> Vec<String> {
    let mut words: Vec<&str> = match name {
        "auto" => vec!["sh", "-c", ANY_SHELL, "sh"],
        name => vec![name],
    };
    words.extend(text.into_iter().flat_map(|text| ["-c", text]));
    words.into_iter().map(str::to_owned).collect()
}
