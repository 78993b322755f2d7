//! Flags before the command: where the store is, how much is logged.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::{Args, Command, FromArgMatches};

use super::host::HostFlags;
use super::parse;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::storage::{DriverName, StorageOptions};
use crate::sys::process;

/// The levels that `--log-level` knows.
const LEVELS: [&str; 8] = ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"];

/// Run containers without a daemon
#[derive(Args, Debug, Default)]
pub(crate) struct Global {
    /// Directory of images and containers
    #[arg(long, value_name = "PATH")]
    pub(crate) root: Option<PathBuf>,
    /// Directory of what a reboot voids
    #[arg(long, value_name = "PATH")]
    pub(crate) runroot: Option<PathBuf>,
    /// How root file systems are made: overlay, vfs or btrfs
    #[arg(long, value_name = "NAME")]
    storage_driver: Option<DriverName>,
    /// Option of the store, as in ignore_chown_errors=true
    ///
    /// ignore_chown_errors=true: files of users that you have no IDs for become yours.
    /// max_unpacked_ratio=N: refuse layers that unpack to more than N times their size, if that is above
    /// 1 GiB; 500 if nothing is said, 0 for no limit.
    #[arg(long, value_name = "NAME=VALUE")]
    storage_opt: Vec<String>,
    /// Accepted for scripts; nothing is logged yet
    #[arg(short, long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// The same as --log-level debug
    #[arg(short = 'D', long)]
    debug: bool,
    /// Directory of Docker's config.json, for credentials
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Further file for what containers.conf says
    ///
    /// It is looked for in the directories containers.conf.modules beside the usual files, unless a
    /// path is given. What later ones say counts.
    #[arg(long, value_name = "FILE")]
    module: Vec<PathBuf>,
    /// Accepted for scripts if it is barge
    ///
    /// Containers are run by barge itself. Other programs that run OCI bundles can be used with bundles
    /// of their own only, and barge as theirs: see barge-runtime(1).
    #[arg(long, value_name = "NAME", value_parser = runtime)]
    runtime: Option<String>,
    /// Accepted for scripts; no other program is run
    #[arg(long, value_name = "FLAG")]
    runtime_flag: Vec<String>,
    /// Accepted for scripts; it is cgroupfs
    #[arg(long, value_name = "NAME", value_parser = ["cgroupfs"])]
    cgroup_manager: Option<String>,
    /// Accepted for scripts; events go to a file of the store
    #[arg(long, value_name = "NAME", value_parser = ["file"])]
    events_backend: Option<String>,
    /// Accepted for scripts; see --runroot
    #[arg(long, value_name = "PATH")]
    tmpdir: Option<PathBuf>,
    /// Accepted for scripts; nothing is logged yet
    #[arg(long)]
    syslog: bool,
    /// Drop standard output
    #[arg(long)]
    noout: bool,
    /// Write standard output to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostFlags,
    /// Show the version and do nothing else
    #[arg(short, long)]
    pub(crate) version: bool,
}

/// Adds the flags to the definition of the whole.
pub(crate) fn define(command: Command) -> Command {
    parse::with_help(Global::augment_args(command)).bin_name("barge")
}

/// Parses the flags before the command. Returns them and the words from the command on; `None` if help is
/// asked for.
pub(crate) fn parse(words: Vec<OsString>) -> Result<Option<(Global, Vec<OsString>)>> {
    // The most common case by far: no flags at all.
    if words.first().is_some_and(|word| !word.to_string_lossy().starts_with('-')) {
        return Ok(Some((Global::default(), words)));
    }
    let Some((mut matches, rest)) = parse::before(define(Command::new("barge")), words)? else {
        return Ok(None);
    };
    let global = Global::from_arg_matches_mut(&mut matches)
        .map_err(|error| Error::new(Kind::Internal, "cannot read the flags").caused_by(error))?;
    Ok(Some((global, rest)))
}

/// Accepts our own name only.
fn runtime(text: &str) -> Result<String> {
    if Path::new(text).file_name().is_some_and(|name| name == "barge") {
        return Ok(text.to_owned());
    }
    let message = format!("cannot run containers by `{text}`: barge runs them itself");
    Err(Error::new(Kind::Unsupported, message).hint("leave out --runtime"))
}

impl Global {
    /// Returns the modules of `containers.conf` that are wanted.
    pub(crate) fn modules(&self) -> &[PathBuf] {
        &self.module
    }

    /// Has credentials be looked for where `--config` says, as its variable does.
    pub(crate) fn name_config(&self) -> Result<()> {
        let Some(dir) = &self.config else { return Ok(()) };
        let dir = std::path::absolute(dir).context(|| "cannot use --config")?;
        process::set_variable("DOCKER_CONFIG", &dir).context(|| "cannot use --config")
    }

    /// Sends standard output elsewhere, if that is wanted: that of containers, too.
    pub(crate) fn redirect(&self) -> Result<()> {
        let file = match &self.out {
            Some(path) => path.as_path(),
            None if self.noout => Path::new("/dev/null"),
            None => return Ok(()),
        };
        let context = || format!("cannot write standard output to {}", file.display());
        let opened = if self.out.is_some() {
            File::create(file)
        } else {
            File::options().write(true).open(file)
        };
        process::redirect(opened.context(context)?.as_fd(), 1).context(context)
    }

    /// Returns how root file systems are to be made. What the flags do not say, the environment may.
    pub(crate) fn storage(&self) -> Result<StorageOptions> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mut options =
            StorageOptions { driver: self.storage_driver, ..StorageOptions::default() };
        if options.driver.is_none()
            && let Some(name) = variable("STORAGE_DRIVER")
        {
            let driver = name.parse::<DriverName>();
            options.driver = Some(driver.context(|| "cannot use STORAGE_DRIVER")?);
        }
        if let Some(all) = variable("STORAGE_OPTS") {
            all.split(',')
                .try_for_each(|option| options.set(option))
                .context(|| "cannot use STORAGE_OPTS")?;
        }
        self.storage_opt.iter().try_for_each(|option| options.set(option))?;
        Ok(options)
    }

    /// Returns what is wrong with the wish for logging, in the words that scripts know.
    pub(crate) fn bad_level(&self) -> Option<String> {
        match &self.log_level {
            Some(_) if self.debug => {
                Some("Setting --log-level and --debug is not allowed".to_owned())
            }
            Some(level) if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) => Some(format!(
                "Log Level \"{level}\" is not supported, choose from: {}",
                LEVELS.join(", ")
            )),
            _ => None,
        }
    }
}
