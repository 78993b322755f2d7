//! `exec`: one more process in a container.

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;

use oci_spec::runtime::{Capabilities, Capability, Process, Spec};

use super::create::{check_terminal, console_size, filter, send_terminal};
use super::{Runtime, Status, conflict};
use crate::engine::exec::{converse, wait_with_signals};
use crate::engine::{ExecSpec, Passing, session};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::cgroup::{Cgroup, Hierarchies, systemd};
use crate::runtime::{Bundle, Entry, Stdio};
use crate::store::file;
use crate::sys::{process, userns};

/// A process to be added to a container.
#[derive(Debug, Default)]
pub struct Addition {
    /// The container.
    pub id: String,
    /// What to run.
    pub what: What,
    /// Control groups below the container's that it is in instead, as [`Cgroup::below`] takes them.
    pub cgroups: Vec<String>,
    /// Whether nobody waits for it.
    pub detach: bool,
    /// Whether it is added to a container that stands still, too.
    pub ignore_paused: bool,
    /// The socket that gets its terminal.
    pub console_socket: Option<PathBuf>,
    /// The file that gets its number.
    pub pid_file: Option<PathBuf>,
    /// Descriptors that it gets beside the standard ones, and variables that speak of them.
    pub passing: Passing,
}

/// What to run.
#[derive(Debug)]
pub enum What {
    /// The process of a file of the OCI's words.
    File(PathBuf),
    /// The container's own process with some things changed.
    Changed(Changes),
}

/// What is otherwise than with the container's own process.
#[derive(Debug, Default)]
pub struct Changes {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Further variables.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: Option<PathBuf>,
    /// User, and group if one was named.
    pub user: Option<(u32, Option<u32>)>,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Further capabilities, by name.
    pub capabilities: Vec<String>,
    /// Whether programs can gain nothing by being executed.
    pub no_new_privileges: bool,
    /// Its profile of AppArmor.
    pub apparmor: Option<String>,
    /// Its label of SELinux.
    pub label: Option<String>,
}

impl Default for What {
    fn default() -> Self {
        Self::Changed(Changes::default())
    }
}

impl Runtime {
    /// Runs a process in a container; returns its exit code, or 0 at once if nobody waits for it.
    ///
    /// This process is moved into the container's process namespace as far as its children are
    /// concerned, so it runs one process and then ends.
    pub fn exec(&self, addition: &Addition) -> Result<i32> {
        let record = self.bundles.get(&addition.id)?;
        match self.status(&record)? {
            Status::Stopped => return Err(conflict("cannot exec in a stopped container")),
            Status::Paused if !addition.ignore_paused => {
                let text = "cannot exec in a paused container (use --ignore-paused to override)";
                return Err(conflict(text));
            }
            _ => {}
        }
        let spec = self.bundles.spec(&addition.id)?;
        let mut oci = match &addition.what {
            What::File(path) => read(path)?,
            What::Changed(changes) => changes.apply(&spec)?,
        };
        oci.env_mut().get_or_insert_default().extend_from_slice(&addition.passing.env);
        let terminal = oci.terminal() == Some(true);
        check_terminal(terminal, addition.detach, addition.console_socket.is_some())?;
        let context = || format!("cannot find the process of container {}", addition.id);
        let pidfd = process::open(record.pid, record.start_time)
            .context(context)?
            .ok_or_else(|| conflict("cannot exec in a stopped container"))?;
        if !rustix::process::geteuid().is_root() {
            userns::join(pidfd.as_fd())
                .context(|| "cannot enter the container's user namespace")?;
        }
        let filter = filter(&spec)?;
        let hierarchies = Hierarchies::detect()?;
        if record.unit.is_some() && record.rootless {
            systemd::leave_session(&hierarchies, self.host.uid)?;
        }
        let group = Cgroup::open(&hierarchies, &record.cgroup)?.beside(&hierarchies, record.pid)?;
        let group = group.below(&addition.cgroups)?;
        let signals = session::catch_signals(!addition.detach)?;
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let stdio = Stdio { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd() };
        let entry = Entry {
            pid: record.pid,
            pidfd: pidfd.as_fd(),
            process: &oci,
            user: None,
            groups: &[],
            personality: None,
            bundle: Bundle {
                id: &record.id,
                directory: &record.bundle,
                annotations: spec.annotations().as_ref(),
            },
            cgroup: Some(&group),
            filter: filter.as_ref(),
            stdio: (!terminal).then_some(stdio),
            files: &addition.passing.files,
        };
        let (child, master) = entry.start()?.run(console_size(&oci))?;
        let told = || {
            if let Some(path) = &addition.pid_file {
                file::write_volatile(path, child.pid.to_string().as_bytes())?;
            }
            match (&addition.console_socket, &master) {
                (Some(socket), Some(master)) => send_terminal(socket, master),
                _ => Ok(()),
            }
        };
        if let Err(error) = told() {
            let _gone = process::send_signal(&child.pidfd, libc::SIGKILL);
            return Err(error);
        }
        if addition.detach {
            return Ok(0);
        }
        let interactive = ExecSpec { interactive: true, ..ExecSpec::default() };
        match master {
            Some(master) => converse(&child.pidfd, &master, &signals, &interactive),
            None => wait_with_signals(&child.pidfd, &signals, None).map(Some),
        }
        .map(|code| code.unwrap_or(0))
    }
}

fn read(path: &PathBuf) -> Result<Process> {
    let context = || format!("cannot read {}", path.display());
    let text = fs::read(path).context(context)?;
    serde_json::from_slice(&text).context(context)
}

impl Changes {
    fn apply(&self, spec: &Spec) -> Result<Process> {
        let mut process = spec.process().clone().unwrap_or_default();
        process.set_args(Some(self.command.clone())).set_terminal(Some(self.tty));
        process.env_mut().get_or_insert_default().extend_from_slice(&self.env);
        if let Some(cwd) = &self.cwd {
            process.set_cwd(cwd.clone());
        }
        let mut user = process.user().clone();
        if let Some((uid, gid)) = self.user {
            user.set_uid(uid);
            if let Some(gid) = gid {
                user.set_gid(gid);
            }
        }
        if !self.groups.is_empty() {
            let mut groups = user.additional_gids().clone().unwrap_or_default();
            groups.extend_from_slice(&self.groups);
            user.set_additional_gids(Some(groups));
        }
        process.set_user(user);
        if self.no_new_privileges {
            process.set_no_new_privileges(Some(true));
        }
        if self.apparmor.is_some() {
            process.set_apparmor_profile(self.apparmor.clone());
        }
        if self.label.is_some() {
            process.set_selinux_label(self.label.clone());
        }
        let more = self.capabilities.iter().map(|name| capability(name));
        let more = more.collect::<Result<Vec<Capability>>>()?;
        if !more.is_empty() {
            let mut sets = process.capabilities().clone().unwrap_or_default();
            let added = |set: &Option<Capabilities>| {
                let mut set = set.clone().unwrap_or_default();
                set.extend(more.iter().copied());
                Some(set)
            };
            sets.set_bounding(added(sets.bounding()));
            sets.set_effective(added(sets.effective()));
            sets.set_permitted(added(sets.permitted()));
            sets.set_ambient(added(sets.ambient()));
            process.set_capabilities(Some(sets));
        }
        Ok(process)
    }
}

fn capability(name: &str) -> Result<Capability> {
    let upper = name.to_ascii_uppercase();
    let whole = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    serde_json::from_value(whole.into())
        .map_err(|_| Error::new(Kind::Invalid, format!("unknown capability `{name}`")))
}
