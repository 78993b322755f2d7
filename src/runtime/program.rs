//! The user's program: who it is, what it gives up before it runs, in an order that is security (see
//! the head of `init`), and where it is found.

use std::borrow::Cow;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::{Hooks, Process};
use rustix::fs::Mode;

use super::capability::{Capabilities, CapabilitySet};
use super::hooks::Bundle;
use super::seccomp::{Agent, Filter};
use super::user::{self, Identity};
use super::{label, rlimit, schedule};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::process::{self, Passed};
use crate::sys::signal;

/// The user's program, ready to run in this process.
pub(super) struct Program<'a> {
    /// What and how.
    pub(super) process: &'a Process,
    /// As whom.
    pub(super) identity: Identity,
    /// Its whole environment.
    pub(super) env: Vec<String>,
    /// Its system call filter.
    pub(super) filter: Option<Cow<'a, Filter>>,
    /// Whether its standard descriptors were made for it.
    pub(super) own_stdio: bool,
    /// What it gets besides these; open under their numbers.
    pub(super) files: &'a [Passed],
    /// Whether its rlimits are set already.
    pub(super) settled: bool,
    /// Whether it ends with the process that made it.
    pub(super) tied: bool,
    /// Whether its capabilities are those of the configuration, whoever it runs as.
    pub(super) exact: bool,
    /// Who decides about calls that its filter leaves to another process.
    pub(super) agent: Option<Agent>,
    /// What is run before it.
    pub(super) hooks: Option<(Bundle<'a>, &'a Hooks)>,
}

impl Program<'_> {
    /// Gives up all power that the program is not to have, and becomes it.
    pub(super) fn exec(&self) -> Result<Infallible> {
        let process = self.process;
        let args = process.args().as_deref().unwrap_or_default();
        let (words, env) = (process::Words::new(args), process::Words::new(self.environment()));
        let words = words.context(|| "the command contains a zero byte")?;
        let env = env.context(|| "the environment contains a zero byte")?;
        if let Some((bundle, hooks)) = self.hooks {
            let pid = rustix::process::getpid().as_raw_nonzero().get();
            let hooks = hooks.start_container().as_deref();
            // Their paths lead into the image: they have no more power than the program.
            let state = ("created", pid);
            bundle.run_as("startContainer", hooks, state, &|| self.give_up())?;
        }
        self.give_up()?;
        signal::reset_all().context(|| "cannot reset signals")?;
        // A change of user cleared it.
        if self.tied {
            process::die_with_parent().context(|| "cannot tie the container to its monitor")?;
        }
        let name = args.first().map_or("", String::as_str);
        Err(execute(name, &words, &env, &self.env))
    }

    /// The environment, in which sockets that are passed on are meant for this process.
    fn environment(&self) -> Vec<String> {
        const SOCKETS_FOR: &str = "LISTEN_PID=";
        let mut env = self.env.clone();
        let entry = env.iter_mut().find(|entry| entry.starts_with(SOCKETS_FOR));
        if let Some(entry) = entry.filter(|_| !self.files.is_empty()) {
            *entry = format!("{SOCKETS_FOR}{}", std::process::id());
        }
        env
    }

    /// The sets for this user: all of the configuration's, or its bounding and ambient ones, of which the
    /// others follow.
    fn capabilities(&self) -> Capabilities {
        let asked = self.process.capabilities().as_ref();
        if self.exact {
            return asked.map(Capabilities::from_oci).unwrap_or_default();
        }
        let bounding = CapabilitySet::from_oci(asked.and_then(|it| it.bounding().as_ref()));
        let ambient = CapabilitySet::from_oci(asked.and_then(|it| it.ambient().as_ref()));
        Capabilities::for_user(bounding, self.identity.uid, ambient)
    }

    /// Gives the user what was made for it, so that it can open /dev/stdout and its terminal.
    fn hand_over_stdio(&self) {
        let null = rustix::fs::makedev(1, 3);
        for file in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            let foreign = rustix::fs::fstat(file).is_ok_and(|it| it.st_rdev != null);
            if foreign {
                // Where that cannot be, the descriptors themselves still work.
                let _kept = rustix::fs::fchown(
                    file,
                    Some(rustix::fs::Uid::from_raw(self.identity.uid)),
                    None,
                );
            }
        }
    }

    fn give_up(&self) -> Result<()> {
        let process = self.process;
        let ids = &self.identity;
        if self.own_stdio && ids.uid != 0 {
            self.hand_over_stdio();
        }
        if !self.settled {
            rlimit::apply(process.rlimits().as_deref().unwrap_or_default())?;
        }
        schedule::apply(process)?;
        let capabilities = self.capabilities();
        capabilities.drop_bounding().context(|| "cannot drop capabilities")?;
        let locked = process.no_new_privileges() == Some(true);
        if locked {
            process::no_new_privileges().context(|| "cannot set no_new_privs")?;
        }
        // Its own calls are not the filter's business.
        rustix::process::umask(Mode::from_raw_mode(process.user().umask().unwrap_or(0o022)));
        if !locked {
            self.install_filter()?;
        }
        capabilities.keep().context(|| "cannot keep capabilities")?;
        become_user(ids)?;
        enter_directory(process.cwd())?;
        capabilities.apply().context(|| "cannot set capabilities")?;
        label::apply(process)?;
        if locked { self.install_filter() } else { Ok(()) }
    }

    fn install_filter(&self) -> Result<()> {
        let Some(filter) = &self.filter else { return Ok(()) };
        let listener = filter.install().context(|| "cannot install the seccomp filter")?;
        match (listener, &self.agent) {
            (Some(listener), Some(agent)) => agent
                .hand_over(listener.as_fd())
                .context(|| "cannot hand the seccomp listener over"),
            _ => Ok(()),
        }
    }
}

/// Finds out who the process is to be, and completes its environment with the home directory.
pub(super) fn identify(
    process: &Process,
    asked: Option<&str>,
    groups: &[String],
) -> Result<(Identity, Vec<String>)> {
    let passwd = user::read("/etc/passwd")?;
    let identity = match asked {
        Some(asked) => user::resolve(asked, groups, &passwd, &user::read("/etc/group")?)?,
        None => {
            let ids = process.user();
            let number = ids.uid().to_string();
            Identity {
                gid: ids.gid(),
                groups: ids.additional_gids().clone().unwrap_or_default(),
                ..user::resolve(&number, &[], &passwd, "")?
            }
        }
    };
    let mut env = process.env().clone().unwrap_or_default();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", identity.home));
    }
    Ok((identity, env))
}

fn become_user(ids: &Identity) -> Result<()> {
    let context = || format!("cannot become user {}:{}", ids.uid, ids.gid);
    match process::become_user(ids.uid, ids.gid, (!ids.keep_groups).then_some(&ids.groups)) {
        // A namespace with a single ID allows no groups; there is none to leave either.
        Err(error)
            if error.raw_os_error() == Some(libc::EPERM)
                && ids.groups.iter().all(|group| *group == ids.gid)
                && std::fs::read_to_string("/proc/self/setgroups")
                    .is_ok_and(|text| text.trim() == "deny") =>
        {
            process::become_user(ids.uid, ids.gid, None).map_err(|error| not_mapped(ids, error))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EPERM)) => {
            Err(not_mapped(ids, error))
        }
        other => other.context(context),
    }
}

fn not_mapped(ids: &Identity, error: std::io::Error) -> Error {
    let message = format!("cannot become user {}:{}", ids.uid, ids.gid);
    Error::new(Kind::CommandNotExecutable, message)
        .hint("this user or group ID is not mapped here; see /etc/subuid and /etc/subgid")
        .caused_by(error)
}

fn enter_directory(path: &Path) -> Result<()> {
    let missing = |error: std::io::Error| {
        Error::new(
            Kind::CommandNotExecutable,
            format!("workdir \"{}\" does not exist on container", path.display()),
        )
        .caused_by(error)
    };
    std::env::set_current_dir(path).map_err(missing)?;
    // A directory outside of the root has no path here.
    match std::env::current_dir() {
        Ok(found) if found.is_absolute() => Ok(()),
        Ok(_) => Err(Error::new(Kind::Denied, "the working directory is outside of the container")),
        Err(error) => Err(missing(error)),
    }
}

/// Says so early if there is no such program: who creates a container wants to know it then.
pub(super) fn find_program(process: &Process, env: &[String]) -> Result<()> {
    let name = process.args().iter().flatten().next().map_or("", String::as_str);
    let there = |path: &String| !path.is_empty() && process.cwd().join(path).exists();
    if candidates(name, env).iter().any(there) { Ok(()) } else { Err(not_found(name)) }
}

/// Runs a program found by the container's `PATH`; returns why it could not.
fn execute(name: &str, args: &process::Words, env: &process::Words, entries: &[String]) -> Error {
    let mut worst: Option<(String, std::io::Error)> = None;
    for candidate in candidates(name, entries) {
        let Ok(file) = CString::new(candidate.as_str()) else { continue };
        let Err(error) = process::exec(&file, args, env);
        let missing = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR));
        if !missing || Path::new(&candidate).exists() {
            worst = Some((candidate, error));
        }
    }
    match worst {
        None => not_found(name),
        Some((file, error)) => unexecutable(&file, error),
    }
}

/// The paths at which a program may be, by the container's `PATH`.
fn candidates(name: &str, env: &[String]) -> Vec<String> {
    if name.is_empty() || name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
    let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let dirs = path.split(':').map(|dir| if dir.is_empty() { "." } else { dir });
    dirs.map(|dir| format!("{dir}/{name}")).collect()
}

fn not_found(name: &str) -> Error {
    let place = if name.contains('/') { "" } else { " in $PATH" };
    let message = format!("executable file `{name}` not found{place}: no such file or directory");
    Error::new(Kind::CommandNotFound, message)
}

fn unexecutable(file: &str, error: std::io::Error) -> Error {
    let failed = |kind| Error::new(kind, format!("cannot execute `{file}`"));
    match error.raw_os_error() {
        // The file is there: what is not is the program that it names.
        Some(libc::ENOENT) => failed(Kind::CommandNotFound)
            .hint("its interpreter (first line of a script) or its dynamic loader is missing")
            .caused_by(error),
        Some(libc::EACCES) if Path::new(file).is_dir() => Error::new(
            Kind::CommandNotExecutable,
            format!("cannot execute `{file}`: is a directory"),
        ),
        Some(libc::ENOEXEC) => failed(Kind::CommandNotExecutable)
            .hint("it is no program for this machine, or a script without a `#!` line")
            .caused_by(error),
        _ => failed(Kind::CommandNotExecutable).caused_by(error),
    }
}
