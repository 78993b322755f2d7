//! One more process in a container that runs.
//!
//! The caller's executable is protected (see `sys::exe`): the new process shows it in the container
//! until it becomes the user's program.

use std::borrow::Cow;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use oci_spec::runtime::Process;
use rustix::fs::{Mode, OFlags};

use super::cgroup::Cgroup;
use super::channel::Channel;
use super::descriptors::keep_channel;
use super::hooks::Bundle;
use super::launch::{Starting, Stdio};
use super::program::{Program, identify};
use super::seccomp::{Agent, Filter};
use super::{init, schedule};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::process::Personality;
use crate::sys::clone::clone3;
use crate::sys::process::Passed;
use crate::sys::{process, terminal};

/// A process to be added to a container.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The container's first process.
    pub pid: i32,
    /// The same, so that its number cannot have changed hands.
    pub pidfd: BorrowedFd<'a>,
    /// What to run.
    pub process: &'a Process,
    /// `USER[:GROUP]`, to be resolved in the container's files.
    pub user: Option<&'a str>,
    /// Further groups, names or numbers.
    pub groups: &'a [String],
    /// Which system the kernel plays to it.
    pub personality: Option<Personality>,
    /// What is told of the container to who decides about its system calls.
    pub bundle: Bundle<'a>,
    /// The container's control group.
    pub cgroup: Option<&'a Cgroup>,
    /// Its system call filter.
    pub filter: Option<&'a Filter>,
    /// Descriptors 0, 1 and 2; `None` makes a terminal of the container.
    pub stdio: Option<Stdio<'a>>,
    /// Further descriptors that it gets, under their numbers.
    pub files: &'a [Passed],
}

/// Namespaces by their name in /proc/PID/ns, without the one for processes.
const NAMESPACES: [(&str, CloneFlags); 7] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("net", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("time", CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)),
    // Last: it takes /proc away.
    ("mnt", CloneFlags::CLONE_NEWNS),
];

impl Entry<'_> {
    /// Makes the process. This process's further children are in the container's process namespace.
    pub fn start(&self) -> Result<Starting> {
        let (ours, theirs) = Channel::pair()?;
        let flags = self.different_namespaces()?;
        let cgroup = self.cgroup.and_then(Cgroup::v2_fd);
        let joined = self.join(CloneFlags::CLONE_NEWPID, "pid");
        joined.context(|| "cannot enter the container")?;
        let child = clone3(0, cgroup, || self.become_program(flags, theirs)).map_err(|error| {
            let kind = match error.raw_os_error() {
                // A version 2 group that has groups with limits below it takes no processes.
                Some(libc::EBUSY) => Kind::Conflict,
                _ => Kind::Internal,
            };
            Error::new(kind, "cannot make a process in the container").caused_by(error)
        })?;
        Ok(Starting::new(child, ours, self.stdio.is_none()))
    }

    fn join(&self, kind: CloneFlags, name: &str) -> Result<()> {
        if same_namespace(self.pid, name)? {
            return Ok(());
        }
        setns(self.pidfd, kind).context(|| format!("cannot join its {name} namespace"))
    }

    /// The kinds of namespaces that the container does not share with us.
    fn different_namespaces(&self) -> Result<CloneFlags> {
        let mut flags = CloneFlags::empty();
        for (name, kind) in NAMESPACES {
            if !same_namespace(self.pid, name)? {
                flags |= kind;
            }
        }
        Ok(flags)
    }

    fn become_program(&self, flags: CloneFlags, channel: Channel) -> Infallible {
        let agent = match self.prepare(flags, &channel) {
            Ok(agent) => agent,
            Err(error) => init::fail(&channel, &error),
        };
        let more = [None, agent.as_ref().map(Agent::as_fd)];
        let Ok((channel, [_, socket])) = keep_channel(&channel, more, self.files) else {
            crate::sys::clone::exit_now(125)
        };
        let agent = agent.zip(socket).map(|(agent, socket)| agent.moved(socket));
        let program = || {
            let (identity, env) = identify(self.process, self.user, self.groups)?;
            if !channel.wait().context(|| "cannot wait for the launcher")? {
                crate::sys::clone::exit_now(125);
            }
            let program = Program {
                process: self.process,
                identity,
                env,
                filter: self.filter.map(Cow::Borrowed),
                own_stdio: self.stdio.is_none(),
                files: self.files,
                settled: true,
                // One in the background stays when the command that made it has ended.
                tied: false,
                exact: self.user.is_none(),
                agent,
                hooks: None,
            };
            program.exec()
        };
        let Err(error) = program();
        init::fail(&channel, &error)
    }

    fn prepare(&self, flags: CloneFlags, channel: &Channel) -> Result<Option<Agent>> {
        // The container's processes see this one already, with the host's descriptors.
        process::hide().context(|| "cannot hide the new process")?;
        let agent = init::agent(self.filter, |_| self.bundle.state("running", self.pid))?;
        let affinity = self.process.exec_cpu_affinity().as_ref();
        schedule::set_processors(affinity.and_then(|it| it.initial().as_deref()))?;
        if let Some(cgroup) = self.cgroup {
            cgroup.join().context(|| "cannot enter the container's cgroups")?;
        }
        schedule::set_processors(affinity.and_then(|it| it.cpu_affinity_final().as_deref()))?;
        if let Some(personality) = self.personality {
            let number = match personality {
                Personality::Linux => process::PER_LINUX,
                Personality::Linux32 => process::PER_LINUX32,
            };
            process::set_personality(number).context(|| "cannot set the personality")?;
        }
        // In the container's user namespace there is no power left to do so.
        init::settle(self.process)?;
        init::leave_keys()?;
        rustix::process::setsid().context(|| "cannot make a session")?;
        if let Some(stdio) = &self.stdio {
            stdio.install().context(|| "cannot pass on the standard descriptors")?;
        }
        if !flags.is_empty() {
            setns(self.pidfd, flags).context(|| "cannot join the container's namespaces")?;
        }
        if self.stdio.is_none() {
            open_terminal(channel)?;
        }
        Ok(agent)
    }
}

/// Makes a terminal of the container that we are in, and gives the master side away.
fn open_terminal(channel: &Channel) -> Result<()> {
    let context = || "cannot make a terminal";
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty()).context(context)?;
    let ptmx = Path::new("/dev/pts/ptmx");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = super::rootfs::open_in(root.as_fd(), ptmx, flags).context(context)?;
    // The container may have put something else there.
    const DEVPTS: i64 = 0x1cd1;
    let found = rustix::fs::fstatfs(&master).context(context)?;
    if found.f_type != DEVPTS {
        return Err(
            Error::new(Kind::Denied, "/dev/pts of the container is not its own").within(context())
        );
    }
    let slave = terminal::pair(master.as_fd()).context(context)?;
    terminal::make_controlling(&slave).context(context)?;
    for number in 0..=2 {
        process::redirect(slave.as_fd(), number).context(context)?;
    }
    channel.send_terminal(master.as_fd()).context(context)
}

fn same_namespace(pid: i32, name: &str) -> Result<bool> {
    let read = |path: String| std::fs::read_link(&path).context(|| format!("cannot read {path}"));
    Ok(read(format!("/proc/{pid}/ns/{name}"))? == read(format!("/proc/self/ns/{name}"))?)
}
