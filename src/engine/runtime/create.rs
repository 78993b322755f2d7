//! `create` and `run`: from a bundle to a container.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::Runtime;
use super::document::{self, Document};
use crate::engine::exec::{converse, user_size, wait_with_signals};
use crate::engine::{ExecSpec, Passing, now, session};
use crate::error::{Context, Error, Kind, Result};
use crate::net;
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::runtime::seccomp::{self, Filter};
use crate::runtime::{Bond, FilterOf, Gate, Launch, Rootfs, Starting, Stdio};
use crate::store::bundle::Record;
use crate::store::file;
use crate::sys::clone::Child;
use crate::sys::{process, socket, userns};

/// A container to be made of a bundle.
#[derive(Debug, Default)]
pub struct Creation {
    /// Its name.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The socket that gets its terminal.
    pub console_socket: Option<PathBuf>,
    /// The file that gets the number of its first process.
    pub pid_file: Option<PathBuf>,
    /// Whether it keeps the session's keys of who starts it.
    pub keeps_keys: bool,
    /// Descriptors that it gets beside the standard ones, and variables that speak of them.
    pub passing: Passing,
}

/// What goes on beside a container that was just made.
struct Made {
    child: Child,
    terminal: Option<OwnedFd>,
    warnings: Vec<String>,
}

impl Runtime {
    /// Makes a container, which then waits for its start. Returns warnings.
    pub fn create(&self, creation: &Creation) -> Result<Vec<String>> {
        let document = document::read(&creation.bundle)?;
        check_terminal(has_terminal(&document.spec), true, creation.console_socket.is_some())?;
        self.make(creation, document, true).map(|made| made.warnings)
    }

    /// Makes a container and starts it; returns warnings.
    pub fn run_detached(&self, creation: &Creation) -> Result<Vec<String>> {
        let document = document::read(&creation.bundle)?;
        check_terminal(has_terminal(&document.spec), true, creation.console_socket.is_some())?;
        let spec = document.spec.clone();
        let mut made = self.make(creation, document, false)?;
        made.warnings.extend(self.poststart(&creation.id, &spec));
        Ok(made.warnings)
    }

    /// Makes a container, starts it and waits for its end; returns its exit code. `warn` is told of
    /// warnings. Unless it is to be kept, it is deleted then.
    pub fn run(&self, creation: &Creation, keep: bool, warn: &dyn Fn(&str)) -> Result<i32> {
        let document = document::read(&creation.bundle)?;
        check_terminal(has_terminal(&document.spec), false, creation.console_socket.is_some())?;
        let spec = document.spec.clone();
        process::become_subreaper().context(|| "cannot become the reaper of orphans")?;
        // Before there is a process that they could be for.
        let signals = session::catch_signals(true)?;
        let mut made = self.make(creation, document, false)?;
        made.warnings.extend(self.poststart(&creation.id, &spec));
        made.warnings.iter().for_each(|warning| warn(warning));
        let interactive = ExecSpec { interactive: true, ..ExecSpec::default() };
        let code = match &made.terminal {
            Some(master) => converse(&made.child.pidfd, master, &signals, &interactive)?,
            None => Some(wait_with_signals(&made.child.pidfd, &signals, None)?),
        };
        if !keep {
            match self.delete(&creation.id, false) {
                // Somebody else was faster.
                Err(error) if error.kind() == Kind::NotFound => {}
                other => other?,
            }
        }
        Ok(code.unwrap_or(0))
    }

    /// Makes a container. On failure nothing of it is left.
    fn make(&self, creation: &Creation, mut document: Document, held: bool) -> Result<Made> {
        let id = &creation.id;
        // Without root, there is no power before.
        let users = self.users(&mut document.spec)?;
        add_variables(&mut document.spec, &creation.passing.env);
        let hierarchies = Hierarchies::detect()?;
        let place = self.place(&document.spec, id, &hierarchies)?;
        let join = existing_namespaces(&document.spec)?;
        let filter = filter(&document.spec)?;
        let mut reserved = self.bundles.reserve(id)?;
        let made = (|| {
            reserved.save_spec(&document.text)?;
            let gate = if held { Some(Gate::new(&self.bundles.gate(id)?)?) } else { None };
            // Before there is a control group, for whoever deletes it if we are killed now.
            let mut record = Record {
                id: id.clone(),
                bundle: document.bundle.clone(),
                rootfs: document.rootfs.clone(),
                pid: 0,
                start_time: 0,
                created: now(),
                cgroup: place.path().to_owned(),
                unit: place.unit(),
                rootless: self.host.rootless,
            };
            reserved.save(&record)?;
            let (cgroup, scope, warnings) =
                self.make_group(&hierarchies, &place, id, &document.spec)?;
            if let Some(scope) = &scope {
                record.cgroup.clone_from(&scope.path);
            }
            let undo = |cgroup: &Cgroup| {
                drop(self.remove_group(cgroup, place.unit().as_deref(), self.host.rootless));
            };
            let terminal = has_terminal(&document.spec);
            let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
            let stdio =
                Stdio { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd() };
            let launch = Launch {
                spec: &document.spec,
                rootfs: &Rootfs::Directory(document.rootfs.clone()),
                user: None,
                groups: &[],
                accounts: None,
                make_cwd: true,
                reaper: false,
                cgroup: Some(&cgroup),
                filter: FilterOf::Known(filter.as_ref()),
                stdio: (!terminal).then_some(stdio),
                files: &creation.passing.files,
                device_nodes: users.is_none() && userns::is_initial(),
                join: &join,
                given: &[],
                keeps_keys: creation.keeps_keys,
                manages_groups: false,
                bundle: document.told_of(id),
                user_namespace: users.as_ref().map(super::users::Users::for_runtime),
                bond: gate.as_ref().map_or(Bond::Free, Bond::Held),
            };
            let starting = launch.start().inspect_err(|_| undo(&cgroup))?;
            // Its first process keeps the scope from here on.
            drop(scope);
            record.pid = starting.pid();
            record.start_time = process::start_time(record.pid).unwrap_or(0);
            match reserved.save(&record) {
                Ok(()) => Ok((starting, cgroup, warnings)),
                Err(error) => {
                    let error = starting.fail(error);
                    undo(&cgroup);
                    Err(error)
                }
            }
        })();
        let (starting, cgroup, warnings) = match made {
            Ok(made) => made,
            Err(error) => {
                // What failed is the news.
                drop(reserved.remove());
                return Err(error);
            }
        };
        // From here on, whoever deletes the container by force finds its process.
        drop(reserved);
        match finish(creation, &document, starting) {
            Ok((child, terminal)) => Ok(Made { child, terminal, warnings }),
            Err(error) => {
                drop(self.remove_group(&cgroup, place.unit().as_deref(), self.host.rootless));
                self.forget(id, &document);
                Err(error)
            }
        }
    }

    /// Removes what is on record of a container that could not be made.
    fn forget(&self, id: &str, document: &Document) {
        // It may have been deleted by force meanwhile.
        drop(self.bundles.lock(id).and_then(crate::store::bundle::LockedBundle::remove));
        if let Some(hooks) = document.spec.hooks() {
            let told = document.told_of(id);
            drop(told.run("poststop", hooks.poststop().as_deref(), "stopped", 0));
        }
    }
}

/// Does what is to be done from outside, and lets the process go on.
fn finish(
    creation: &Creation,
    document: &Document,
    mut starting: Starting,
) -> Result<(Child, Option<OwnedFd>)> {
    if let Err(error) = outside(creation, document, &mut starting) {
        return Err(starting.fail(error));
    }
    let (child, terminal) =
        starting.run(document.spec.process().as_ref().and_then(console_size))?;
    let given = (|| {
        let terminal = match (&creation.console_socket, terminal) {
            (Some(socket), Some(terminal)) => {
                send_terminal(socket, &terminal)?;
                None
            }
            (_, terminal) => terminal,
        };
        if let Some(path) = &creation.pid_file {
            file::write_volatile(path, child.pid.to_string().as_bytes())?;
        }
        Ok(terminal)
    })();
    match given {
        Ok(terminal) => Ok((child, terminal)),
        Err(error) => {
            let _gone = process::send_signal(&child.pidfd, libc::SIGKILL);
            let _reaped = process::wait(child.pidfd.as_fd());
            Err(error)
        }
    }
}

fn outside(creation: &Creation, document: &Document, starting: &mut Starting) -> Result<()> {
    let network = document::namespace(&document.spec, LinuxNamespaceType::Network);
    if network.is_some_and(|network| network.path().is_none()) {
        net::loopback_up(starting.network_namespace()?.as_fd())?;
    }
    let linux = document.spec.linux().as_ref();
    if let Some(devices) = linux.and_then(|linux| linux.net_devices().as_ref()) {
        let netns = match network.map(oci_spec::runtime::LinuxNamespace::path) {
            None => {
                let text = "interfaces are moved to a network namespace, and there is none";
                return Err(Error::new(Kind::Invalid, text));
            }
            Some(None) => starting.network_namespace()?,
            Some(Some(path)) => {
                File::open(path).context(|| format!("cannot open {}", path.display()))?.into()
            }
        };
        net::move_devices(devices, netns.as_fd())?;
    }
    match document.spec.hooks() {
        Some(hooks) => {
            let told = document.told_of(&creation.id);
            starting.run_hooks(told, hooks)
        }
        None => Ok(()),
    }
}

pub(super) fn has_terminal(spec: &Spec) -> bool {
    spec.process().as_ref().is_some_and(|process| process.terminal() == Some(true))
}

/// A terminal needs somebody who holds the other side.
pub(super) fn check_terminal(terminal: bool, detached: bool, has_socket: bool) -> Result<()> {
    match (terminal, detached, has_socket) {
        (true, true, false) => Err(Error::new(
            Kind::Invalid,
            "cannot allocate tty if barge will detach without setting console socket",
        )),
        (false, _, true) | (true, false, true) => Err(Error::new(
            Kind::Invalid,
            "cannot use console socket if barge will not detach or allocate tty",
        )),
        _ => Ok(()),
    }
}

/// Rows and columns that a terminal begins with.
pub(super) fn console_size(process: &Process) -> Option<(u16, u16)> {
    let number = |number: u64| u16::try_from(number).unwrap_or(0);
    match process.console_size() {
        Some(size) => Some((number(size.height()), number(size.width()))),
        None => user_size(),
    }
}

/// Gives the terminal to who listens at a socket, as runc does: one message with a name, and the
/// master side with it.
pub(super) fn send_terminal(path: &Path, terminal: &OwnedFd) -> Result<()> {
    let send = || {
        let (address, _dir) = socket::address(path)?;
        let flags = SocketFlags::CLOEXEC;
        let stream =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&stream, &address)?;
        socket::send(stream.as_fd(), b"/dev/ptmx", Some(terminal.as_fd()))
    };
    send().context(|| format!("cannot send the terminal to {}", path.display()))
}

/// Adds variables to those of the process.
fn add_variables(spec: &mut Spec, variables: &[String]) {
    if let Some(process) = spec.process_mut().as_mut().filter(|_| !variables.is_empty()) {
        process.env_mut().get_or_insert_default().extend_from_slice(variables);
    }
}

/// Opens the namespaces that are there already.
fn existing_namespaces(spec: &Spec) -> Result<Vec<(OwnedFd, i32)>> {
    let mut found = Vec::new();
    for namespace in document::namespaces(spec) {
        let Some(path) = namespace.path() else { continue };
        if namespace.typ() == LinuxNamespaceType::Mount {
            let text = "a mount namespace that is there already cannot be joined";
            return Err(Error::new(Kind::Unsupported, text));
        }
        let file = File::open(path).context(|| format!("cannot open {}", path.display()))?;
        found.push((file.into(), namespace.typ() as i32));
    }
    Ok(found)
}

/// Compiles the filter of system calls.
pub(super) fn filter(spec: &Spec) -> Result<Option<Filter>> {
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    profile.map(seccomp::compile).transpose()
}
