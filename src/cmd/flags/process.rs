//! What runs in a container, and as whom.

use std::path::PathBuf;

use clap::Args;

use crate::cmd::environment;
use crate::error::{Error, Kind, Result};
use crate::spec::container::{ContainerSpec, parse_umask};
use crate::spec::process::Signal;

/// What runs in the container, and as whom.
#[derive(Args, Debug)]
pub(in crate::cmd) struct ProcessFlags {
    /// Replace the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Set a variable, or take over your own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read variables from this file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Add a group to its user
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Run a small init that reaps children
    #[arg(long)]
    init: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub(in crate::cmd) interactive: bool,
    /// Signal that asks it to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<Signal>,
    /// Seconds to wait before killing it
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
    /// Give it a terminal
    #[arg(short, long)]
    pub(in crate::cmd) tty: bool,
    /// Permission bits that new files do not get
    #[arg(long, value_name = "BITS", value_parser = parse_umask)]
    umask: Option<u32>,
    /// Leave out a variable of the image
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
    /// User to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<PathBuf>,
}

impl ProcessFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, spec: &mut ContainerSpec) -> Result<()> {
        if let Some(dir) = self.workdir.as_deref().filter(|dir| !dir.is_absolute()) {
            let text = format!(
                "the working directory \"{}\" is invalid, it needs to be an absolute path",
                dir.display()
            );
            return Err(Error::new(Kind::Invalid, text));
        }
        spec.entrypoint = self.entrypoint.as_deref().map(entrypoint);
        spec.env = environment::read(&self.env_file, &self.env)?;
        spec.unset_env = self.unsetenv;
        spec.working_dir = self.workdir;
        spec.user = self.user;
        spec.stop_signal = self.stop_signal;
        let settings = &mut spec.settings;
        settings.tty = self.tty;
        settings.interactive = self.interactive;
        settings.init = self.init;
        settings.groups = self.group_add;
        settings.stop_timeout = self.stop_timeout;
        settings.umask = self.umask;
        Ok(())
    }
}

/// Reads an entrypoint: one word, a JSON list of words, or nothing at all.
fn entrypoint(text: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => words,
        Err(_) if text.is_empty() => Vec::new(),
        Err(_) => vec![text.to_owned()],
    }
}
