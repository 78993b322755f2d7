//! The launcher's side of making a container's first process.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Hooks, LinuxNamespace, LinuxNamespaceType, Spec};

use super::cgroup::Cgroup;
use super::channel::{Channel, Message};
use super::gate::Gate;
use super::hooks::{self, Bundle};
use super::rootfs::Rootfs;
use super::seccomp::Filter;
use super::threshold::UserNamespace;
use super::{check, init, threshold};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::account::Accounts;
use crate::sys::clone::{Child, clone3};
use crate::sys::process::Passed;

/// What to launch.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The container in the OCI's words.
    pub spec: &'a Spec,
    /// What its root directory is made of.
    pub rootfs: &'a Rootfs,
    /// `USER[:GROUP]`, to be resolved in the container's files; `None` takes the numbers of `spec`.
    pub user: Option<&'a str>,
    /// Further groups, names or numbers, to be resolved likewise.
    pub groups: &'a [String],
    /// Lines for the container's user databases; `None` leaves them alone.
    pub accounts: Option<&'a Accounts>,
    /// Whether a missing working directory is made.
    pub make_cwd: bool,
    /// Whether a process of ours stays as process 1 and reaps children.
    pub reaper: bool,
    /// Its control group.
    pub cgroup: Option<&'a Cgroup>,
    /// Its system call filter.
    pub filter: FilterOf<'a>,
    /// Descriptors 0, 1 and 2; `None` makes a terminal.
    pub stdio: Option<Stdio<'a>>,
    /// Further descriptors that it gets, under their numbers.
    pub files: &'a [Passed],
    /// Whether device nodes can be made here: not in a user namespace.
    pub device_nodes: bool,
    /// Namespaces that exist and are joined, with their kind as `CLONE_NEW…`; a process stands for all
    /// of its own.
    pub join: &'a [(OwnedFd, i32)],
    /// Detached mounts for some entries of the configuration, by destination: another container's
    /// shared memory is at no path of ours.
    pub given: &'a [(PathBuf, OwnedFd)],
    /// Whether it keeps the session's keys of who starts it.
    pub keeps_keys: bool,
    /// Whether it makes groups below its own, as systemd does.
    pub manages_groups: bool,
    /// What its hooks are told of.
    pub bundle: Bundle<'a>,
    /// Its user namespace, if that is not ours.
    pub user_namespace: Option<UserNamespace<'a>>,
    /// What becomes of it when this process ends.
    pub bond: Bond<'a>,
}

/// The system call filter of a container.
#[derive(Clone, Copy, Debug)]
pub enum FilterOf<'a> {
    /// It has this one, or none.
    Known(Option<&'a Filter>),
    /// It is given to [`Starting::give_filter`] while the process prepares its box.
    Follows,
}

impl<'a> FilterOf<'a> {
    pub(super) fn known(self) -> Option<&'a Filter> {
        match self {
            Self::Known(filter) => filter,
            Self::Follows => None,
        }
    }
}

/// How a container's first process is bound to the one that makes it.
#[derive(Clone, Copy, Debug)]
pub enum Bond<'a> {
    /// It ends with it: nothing runs unwatched.
    Tied,
    /// It goes on without it.
    Free,
    /// It goes on without it, once somebody opens this gate.
    Held(&'a Gate),
}

/// The three standard descriptors of a process.
#[derive(Clone, Copy, Debug)]
pub struct Stdio<'a> {
    /// Standard input.
    pub stdin: BorrowedFd<'a>,
    /// Standard output.
    pub stdout: BorrowedFd<'a>,
    /// Standard error.
    pub stderr: BorrowedFd<'a>,
}

/// A container's first process, on its way.
#[derive(Debug)]
pub struct Starting {
    child: Child,
    channel: Channel,
    /// Whether its terminal is yet to come.
    has_terminal: bool,
    terminal: Option<OwnedFd>,
    /// What it gets when it goes on.
    given: Vec<u8>,
}

impl Launch<'_> {
    /// Makes the process. It prepares its box and then waits for [`Starting::run`].
    pub fn start(&self) -> Result<Starting> {
        check::check(self)?;
        if threshold::is_needed(self) {
            return threshold::start(self);
        }
        let (ours, theirs) = Channel::pair()?;
        let cgroup = self.cgroup.and_then(Cgroup::v2_fd);
        let child = clone3(self.namespaces(), cgroup, || init::run(self, theirs, None))
            .map_err(Self::refused)?;
        Ok(Starting::new(child, ours, self.stdio.is_none()))
    }

    /// Returns the mount that was given for a destination.
    pub(super) fn given(&self, destination: &Path) -> Option<&OwnedFd> {
        self.given.iter().find(|(path, _)| path == destination).map(|(_, tree)| tree)
    }

    /// Tells whether it has a namespace of this kind that is made for it.
    pub(super) fn has_new(&self, kind: LinuxNamespaceType) -> bool {
        let linux = self.spec.linux().as_ref();
        let asked = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
        asked.iter().any(|it| it.typ() == kind && it.path().is_none())
    }

    /// Says why there is no process in new namespaces.
    pub(super) fn refused(error: std::io::Error) -> Error {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EUSERS) => Error::new(
                Kind::Unavailable,
                "cannot make namespaces: the limit of this machine is reached",
            )
            .hint("see the sysctls user.max_*_namespaces"),
            Some(libc::EAGAIN) => Error::new(
                Kind::Unavailable,
                "cannot make a process: the limit of processes is reached",
            ),
            _ => Error::new(Kind::Internal, "cannot make a process in new namespaces"),
        }
        .caused_by(error)
    }

    /// The namespaces that are made with the process.
    pub(super) fn namespaces(&self) -> i32 {
        let linux = self.spec.linux().as_ref();
        let asked = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
        asked
            .iter()
            .filter(|namespace| namespace.path().is_none())
            .map(LinuxNamespace::typ)
            // The first is made later, the second by who is sent ahead, the third is there.
            .filter(|kind| {
                use LinuxNamespaceType::{Cgroup, Time, User};
                !matches!(kind, Cgroup | Time | User)
            })
            .fold(libc::CLONE_NEWNS, |flags, kind| flags | kind as i32)
    }
}

impl Starting {
    pub(super) fn new(child: Child, channel: Channel, has_terminal: bool) -> Self {
        Self { child, channel, has_terminal, terminal: None, given: Vec::new() }
    }

    /// Waits until nothing is left to be done but to run the user's program, or something has failed.
    pub fn settle(&mut self) -> Result<()> {
        self.channel.ask();
        self.take_terminal()?;
        match self.channel.receive()? {
            Message::Ready => Ok(()),
            _ => Err(lost()),
        }
    }

    /// Returns the process, to wait for its end.
    pub fn process(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Runs the hooks of the machine's side, when all is mounted and the root is still the host's.
    pub fn run_hooks(&mut self, bundle: Bundle<'_>, hooks: &Hooks) -> Result<()> {
        if !hooks::has_outer(hooks) {
            return Ok(());
        }
        self.take_terminal()?;
        let Message::Mounted = self.channel.receive()? else { return Err(lost()) };
        bundle.run("prestart", hooks::prestart(hooks), "created", self.child.pid)?;
        let hooks = hooks.create_runtime().as_deref();
        bundle.run("createRuntime", hooks, "created", self.child.pid)?;
        self.channel.go();
        Ok(())
    }

    /// Gives it the filter that was to follow.
    pub fn give_filter(&mut self, filter: &Filter) {
        self.given = filter.to_bytes();
    }

    /// Returns the process ID.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Opens its network namespace.
    pub fn network_namespace(&self) -> Result<OwnedFd> {
        let path = format!("/proc/{}/ns/net", self.child.pid);
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, rustix::fs::Mode::empty())
            .context(|| format!("cannot open network namespace {path}"))
    }

    /// Lets it become the user's program; returns its descriptor and its terminal, if it has one.
    ///
    /// The terminal has this size, in rows and columns, before the program sees it. On failure the
    /// process is gone when this returns.
    ///
    /// One that is held waits at its gate, and has done all before.
    pub fn run(mut self, size: Option<(u16, u16)>) -> Result<(Child, Option<OwnedFd>)> {
        match self.converse(size) {
            Ok(()) => Ok((self.child, self.terminal)),
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    fn converse(&mut self, size: Option<(u16, u16)>) -> Result<()> {
        self.take_terminal()?;
        if let (Some(master), Some((rows, columns))) = (&self.terminal, size) {
            crate::sys::terminal::set_size(master.as_fd(), rows, columns)
                .context(|| "cannot set the size of the terminal")?;
        }
        self.channel.go_with(&self.given);
        match self.channel.receive()? {
            Message::Running | Message::Waiting => Ok(()),
            _ => Err(lost()),
        }
    }

    /// Waits for its terminal, if it has one that has not come yet.
    fn take_terminal(&mut self) -> Result<()> {
        if self.has_terminal {
            let Message::Terminal(master) = self.channel.receive()? else { return Err(lost()) };
            self.terminal = Some(master);
            self.has_terminal = false;
        }
        Ok(())
    }

    /// Ends a process whose network could not be made; returns the reason.
    ///
    /// If the process itself had failed before, that is the reason, and the rest its consequence.
    pub fn fail(self, error: Error) -> Error {
        let reported = match self.channel.reported() {
            Some(reported) => reported,
            None => error,
        };
        self.abandon();
        reported
    }

    /// Ends a process that has not become the user's program.
    pub fn abandon(self) {
        // It may be gone already; then there is nothing to signal, but still a child to reap.
        drop(crate::sys::process::send_signal(&self.child.pidfd, libc::SIGKILL));
        drop(crate::sys::process::wait(self.child.pidfd.as_fd()));
    }
}

fn lost() -> Error {
    Error::new(Kind::Internal, "the container's process lost its way")
}

impl Stdio<'_> {
    /// Puts them under their numbers.
    pub(super) fn install(&self) -> std::io::Result<()> {
        // Sources with low numbers would be overwritten before they are used.
        let high = |file: BorrowedFd<'_>| {
            rustix::io::fcntl_dupfd_cloexec(file, 10).map_err(std::io::Error::from)
        };
        let files = [high(self.stdin)?, high(self.stdout)?, high(self.stderr)?];
        for (file, number) in files.iter().zip(0..) {
            crate::sys::process::redirect(file.as_fd(), number)?;
        }
        debug_assert!(files.iter().all(|file| file.as_raw_fd() > 2));
        Ok(())
    }
}
