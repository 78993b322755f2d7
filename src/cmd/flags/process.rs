//! What runs in a container, and as whom.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cmd::environment;
use crate::cmd::parse::truth;
use crate::cmd::stop::seconds;
use crate::error::{Error, Kind, Result};
use crate::spec::account::{Accounts, KEEP_GROUPS};
use crate::spec::container::{ContainerSpec, parse_umask};
use crate::spec::defaults::Defaults;
use crate::spec::env::parse_pair;
use crate::spec::notify::SdNotify;
use crate::spec::process::{Personality, Signal};

/// What runs in the container, and as whom.
#[derive(Args, Debug)]
pub(in crate::cmd) struct ProcessFlags {
    /// Replace the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Set a variable, or take over your own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Take over all variables of your own, below the image's
    #[arg(long)]
    env_host: bool,
    /// Set a variable that may contain ${NAME} of the image
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    env_merge: Vec<(String, String)>,
    /// Line for /etc/group if its group has none
    #[arg(long, value_name = "LINE")]
    group_entry: Option<String>,
    /// Add a user of the host to /etc/passwd
    #[arg(long, value_name = "USER", value_delimiter = ',')]
    hostuser: Vec<String>,
    /// Take over where your proxies are; on by default
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = truth)]
    http_proxy: Option<bool>,
    /// Run this program of the host as its init
    #[arg(long, value_name = "FILE")]
    init_path: Option<PathBuf>,
    /// Add lines to /etc/passwd and /etc/group; on by default
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = truth)]
    passwd: Option<bool>,
    /// Line for /etc/passwd if its user has none
    #[arg(long, value_name = "LINE")]
    passwd_entry: Option<String>,
    /// System that it looks like: LINUX or LINUX32
    #[arg(long, value_name = "NAME")]
    personality: Option<Personality>,
    /// Time zone, as in Europe/Rome, or local
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// Leave out all variables of the image and the usual ones
    #[arg(long)]
    unsetenv_all: bool,
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
    /// Who tells systemd that it is ready, as in conmon
    ///
    /// If NOTIFY_SOCKET is set: container (the usual) passes on what the container says at the socket
    /// that its own NOTIFY_SOCKET names, conmon says so as soon as it runs, healthy as soon as it is
    /// healthy, ignore never. In all cases but the last the monitor becomes the main process.
    #[arg(long, value_name = "MODE")]
    sdnotify: Option<SdNotify>,
    /// Signal that asks it to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<Signal>,
    /// Seconds to wait before killing it, or -1
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    stop_timeout: Option<u32>,
    /// Seconds after which it is killed
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
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
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        if let Some(dir) = self.workdir.as_deref().filter(|dir| !dir.is_absolute()) {
            let text = format!(
                "the working directory \"{}\" is invalid, it needs to be an absolute path",
                dir.display()
            );
            return Err(Error::new(Kind::Invalid, text));
        }
        spec.entrypoint = self.entrypoint.as_deref().map(entrypoint);
        spec.env = environment::read(&self.env_file, &self.env)?;
        spec.env_usual = usual.env.all().to_vec();
        if self.env_host || usual.env_host == Some(true) {
            spec.env_below = environment::own();
        } else if self.http_proxy.or(usual.http_proxy) != Some(false) {
            spec.env_below = environment::proxies();
        }
        spec.env_merge = self.env_merge;
        spec.unset_env_all = self.unsetenv_all;
        spec.unset_env = self.unsetenv;
        spec.working_dir = self.workdir;
        spec.user = self.user;
        spec.stop_signal = self.stop_signal;
        let settings = &mut spec.settings;
        settings.tty = self.tty;
        settings.interactive = self.interactive;
        if self.group_add.len() > 1 && self.group_add.iter().any(|it| it == KEEP_GROUPS) {
            let text = "the '--group-add keep-groups' option is not allowed with any other --group-add options";
            return Err(Error::new(Kind::Invalid, text));
        }
        settings.groups = self.group_add;
        // Who names an init wants one.
        let init = self.init || usual.init == Some(true);
        let init_path = self.init_path.or_else(|| usual.init_path.clone());
        settings.init_path = init_path.filter(|_| init);
        settings.init = init && settings.init_path.is_none();
        settings.accounts = Accounts {
            untouched: self.passwd == Some(false),
            passwd_entry: self.passwd_entry,
            group_entry: self.group_entry,
            host_users: host_users(&self.hostuser)?,
        };
        settings.personality = self.personality;
        settings.sdnotify = self.sdnotify.unwrap_or_default();
        settings.time_zone = self.tz.or_else(|| usual.time_zone.clone());
        settings.stop_timeout = self.stop_timeout.or(usual.stop_timeout);
        settings.timeout = self.timeout.filter(|seconds| *seconds > 0);
        settings.umask = self.umask.or(usual.umask);
        Ok(())
    }
}

/// Finds the lines of users in /etc/passwd of the host.
fn host_users(names: &[String]) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let passwd = environment::read_file(Path::new("/etc/passwd"))?;
    let find = |name: &String| {
        let is_it = |line: &&str| {
            let mut fields = line.split(':');
            fields.next() == Some(name) || fields.nth(1) == Some(name)
        };
        passwd.lines().find(is_it).map(str::to_owned).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("unable to find user {name} on the host"))
                .hint("name a user of the host's /etc/passwd")
        })
    };
    names.iter().map(find).collect()
}

/// Reads an entrypoint: one word, a JSON list of words, or nothing at all.
fn entrypoint(text: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => words,
        Err(_) if text.is_empty() => Vec::new(),
        Err(_) => vec![text.to_owned()],
    }
}
