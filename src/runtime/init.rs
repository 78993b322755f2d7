//! What a container's first process does before it becomes the user's program.
//!
//! The order is security. Read this before moving a line. Steps that have a place of their own say
//! where that is:
//!
//! 1. Become unreadable for others: until exec this is our own program with the host's descriptors.
//! 2. Connect to the seccomp agent, whose socket is a path of the host.
//! 3. Join the cgroups, while the process is still free to; then set the oom score, which takes the
//!    host's power and the host's /proc.
//! 4. In another user namespace, become its root.
//! 5. Make a session keyring, now that it belongs to the right user: the keys of who started us stay
//!    out.
//! 6. Die with the monitor, so that nothing runs unwatched (a change of user has cleared that before
//!    here); one that is made to outlive its launcher, only until step 17. Make a session.
//! 7. Join namespaces that exist, while the host's paths and capabilities are there. Make the cgroup
//!    namespace only now: its root is the cgroup of this moment. Set the domain name and the host name
//!    of the namespace that is ours by now.
//! 8. Open what is bound with its mounts shared, while they still are; then cut mount propagation to
//!    the host, and mount the new root.
//! 9. Set the personality and the memory policy, which the program inherits.
//! 10. Mount everything beneath the new root, cgroups among it; fill /dev if it is ours.
//! 11. Make the terminal and give its master side away, or put the standard descriptors in their
//!     places; make /etc/mtab.
//! 12. Wait for the hooks that the launcher runs (`prestart`, `createRuntime`) and run
//!     `createContainer`: they see the host's root for the last time, by the user's order.
//! 13. `pivot_root`: from here on no path leads outside. Only then set the root's own propagation: the
//!     kernel moves no root that passes its mounts on.
//! 14. Set kernel parameters while /proc/sys can be written. Only then mask paths, so that nothing
//!     covers a mask, and make /proc/sys, other paths and the root read-only.
//! 15. Close every descriptor but the channel, the gate, the agent, the standard ones and those that the
//!     user passes on (`descriptors`), *before* changing to the working directory: a directory of the
//!     host must not be reachable as /proc/self/fd/N (CVE-2024-21626).
//! 16. Read the container's user files from inside the container; make the image's working directory.
//! 17. Wait for the launcher's go (the network) at the last moment, so that all above runs beside it.
//!     One that outlives the launcher is let go now; one that is held looks whether its program is
//!     there and waits at its gate. Then its user's lines are added to the user files.
//! 18. With `--init`, fork here: the parent stays as process 1 (`reaper`), the child goes on.
//! 19. The rest is `program`: `startContainer` hooks, with no more power than the program, since their
//!     paths lead into the image; then rlimits, scheduling and the bounding set, which take
//!     capabilities: before the change of user.
//! 20. Without `no_new_privs`, the filter needs CAP_SYS_ADMIN: it is installed before the change of
//!     user and must let that pass; with it, after all that follows.
//! 21. Become the user, then enter the working directory with that user's power only, and see that it is
//!     inside; then set the capabilities and the label. Reset signals, tie the program to the monitor
//!     again, and exec.
//!
//! In another user namespace, or in another container's process namespace, a process sent ahead has
//! done steps 3, 7 (but for the cgroup namespace and the names) and the mounts of 8 (see `threshold`):
//! there, this one begins as the root of that namespace, with the file systems that it could not make
//! itself.

use std::borrow::Cow;
use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use oci_spec::runtime::{LinuxNamespaceType, LinuxPersonalityDomain, Process, Spec};
use rustix::fs::OFlags;

use super::channel::Channel;
use super::descriptors::keep_channel;
use super::gate::Gate;
use super::launch::{Bond, FilterOf, Launch};
use super::program::{Program, find_program, identify};
use super::rootfs::{Source, Trees};
use super::seccomp::{Agent, Filter};
use super::user::{self, Identity};
use super::{cgroup, check, device, hooks, options, proc, reaper, rlimit, rootfs, schedule};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::exit_now;
use crate::sys::mount::{self, Attributes};
use crate::sys::{process, terminal};

pub(super) const MS_SLAVE: u64 = 1 << 19;

/// Becomes the user's program, or tells the launcher why not.
///
/// `ahead` is what a process sent ahead has done, if there was one: the file systems for another user
/// namespace.
pub(super) fn run(
    launch: &Launch<'_>,
    channel: Channel,
    ahead: Option<Option<Trees>>,
) -> Infallible {
    let settled = ahead.is_some();
    match prepare(launch, &channel, ahead) {
        Ok((process, agent)) => {
            // The channel moves to its low number; the old one closes with all others.
            let gate = match launch.bond {
                Bond::Held(gate) => Some(gate.as_fd()),
                Bond::Tied | Bond::Free => None,
            };
            let more = [gate, agent.as_ref().map(Agent::as_fd)];
            let Ok((channel, [gate, socket])) = keep_channel(&channel, more, launch.files) else {
                exit_now(125)
            };
            let agent = agent.zip(socket).map(|(agent, socket)| agent.moved(socket));
            finish(process, launch, (channel, gate.map(Gate::from_fd), agent), settled)
        }
        Err(error) => fail(&channel, &error),
    }
}

pub(super) fn process_of(spec: &Spec) -> Result<&Process> {
    spec.process()
        .as_ref()
        .ok_or_else(|| Error::new(Kind::Invalid, "the configuration names no process"))
}

fn prepare<'a>(
    launch: &'a Launch<'_>,
    channel: &Channel,
    ahead: Option<Option<Trees>>,
) -> Result<(&'a Process, Option<Agent>)> {
    let spec = launch.spec;
    let process = process_of(spec)?;
    process::hide().context(|| "cannot hide the container's first process")?;
    let agent = agent(launch.filter.known(), |pid| launch.bundle.state("creating", pid))?;
    if let (None, Some(cgroup)) = (&ahead, launch.cgroup) {
        cgroup.join().context(|| "cannot enter the container's cgroups")?;
    }
    if ahead.is_none() {
        set_oom_score(process)?;
    }
    if let Some((uid, gid)) = launch.user_namespace.map(|user| user.first) {
        process::become_user(uid, gid, Some(&[]))
            // Where a single ID is mapped, groups cannot be changed, and there are none.
            .or_else(|_| process::become_user(uid, gid, None))
            .context(|| "cannot become root of the container")?;
    }
    if !launch.keeps_keys {
        leave_keys()?;
    }
    process::die_with_parent().context(|| "cannot tie the container to its monitor")?;
    rustix::process::setsid().context(|| "cannot make a session")?;
    if ahead.is_none() {
        join_all(launch.join)?;
    }
    if has_new_cgroup_namespace(spec) {
        unshare(CloneFlags::CLONE_NEWCGROUP).context(|| "cannot make a cgroup namespace")?;
    }
    if let Some(name) = spec.domainname() {
        rustix::system::setdomainname(name.as_bytes())
            .context(|| format!("cannot set the domain name {name}"))?;
    }
    if let Some(hostname) = spec.hostname() {
        rustix::system::sethostname(hostname.as_bytes())
            .context(|| format!("cannot set the host name {hostname}"))?;
    }
    build_tree(launch, channel, ahead.flatten())?;
    Ok((process, agent))
}

/// Connects to who decides about calls that a filter leaves to another process.
pub(super) fn agent(
    filter: Option<&Filter>,
    state: impl FnOnce(i32) -> serde_json::Value,
) -> Result<Option<Agent>> {
    let Some(filter) = filter.filter(|filter| filter.has_listener()) else { return Ok(None) };
    // /proc is the host's still, and has the number that the host knows us by.
    let own = std::fs::read_link("/proc/self").context(|| "cannot read /proc/self")?;
    let pid = own.to_string_lossy().parse().unwrap_or(0);
    filter.agent(pid, &state(pid))
}

/// Joins namespaces that exist.
pub(super) fn join_all(namespaces: &[(OwnedFd, i32)]) -> Result<()> {
    for (namespace, kind) in namespaces {
        setns(namespace, CloneFlags::from_bits_retain(*kind)).map_err(|error| {
            let failed = |kind| Error::new(kind, "cannot join a namespace");
            match error {
                nix::errno::Errno::EINVAL => failed(Kind::Invalid)
                    .hint("it is of another kind, or one that cannot be joined"),
                nix::errno::Errno::EPERM => failed(Kind::Denied)
                    .hint("it belongs to another user, or to a container with users of its own"),
                _ => failed(Kind::Internal),
            }
            .caused_by(error)
        })?;
    }
    Ok(())
}

/// Sets what a process passes on to its children, and needs the host's power for.
pub(super) fn settle(process: &Process) -> Result<()> {
    set_oom_score(process)?;
    rlimit::apply(process.rlimits().as_deref().unwrap_or_default())
}

/// Takes the keys of who started us away.
pub(super) fn leave_keys() -> Result<()> {
    match process::new_session_keyring() {
        // A kernel without keys, or a container around us in which nobody gets at any.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EDQUOT) => {
            let text = "cannot make a keyring: this user has too many keys";
            let hint = "see the sysctls kernel.keys.maxkeys and kernel.keys.root_maxkeys";
            Err(Error::new(Kind::Unavailable, text).hint(hint).caused_by(error))
        }
        other => other.context(|| "cannot make a keyring"),
    }
}

/// Sets how readily the kernel ends the process when memory runs out. This is the host's /proc.
fn set_oom_score(process: &Process) -> Result<()> {
    let Some(score) = process.oom_score_adj() else { return Ok(()) };
    std::fs::write("/proc/self/oom_score_adj", score.to_string())
        .context(|| format!("cannot set the oom score to {score}"))
}

fn has_new_cgroup_namespace(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    namespaces.iter().any(|it| it.typ() == LinuxNamespaceType::Cgroup && it.path().is_none())
}

/// Makes the container's file tree and moves into it.
fn build_tree(launch: &Launch<'_>, channel: &Channel, trees: Option<Trees>) -> Result<()> {
    let spec = launch.spec;
    let linux = spec.linux().as_ref();
    let entries = spec.mounts().as_deref().unwrap_or_default();
    let mut shared = Vec::new();
    if trees.is_none() {
        for (index, entry) in entries.iter().enumerate() {
            if rootfs::is_shared_bind(entry) && launch.given(entry.destination()).is_none() {
                shared.push((index, Source::of_bind(entry)?));
            }
        }
    }
    mount::set_propagation_of_all(MS_SLAVE)
        .context(|| "cannot cut the mounts off from the host's")?;
    let (root, mut sources) = match trees {
        Some(trees) => (rootfs::attach(trees.root, Path::new("/"))?, trees.sources),
        None => (launch.rootfs.mount()?, Vec::new()),
    };
    let mut sources = sources.drain(..);
    if let Some(personality) = linux.and_then(|linux| linux.personality().as_ref()) {
        let number = match personality.domain() {
            LinuxPersonalityDomain::PerLinux => process::PER_LINUX,
            LinuxPersonalityDomain::PerLinux32 => process::PER_LINUX32,
        };
        process::set_personality(number).context(|| "cannot set the personality")?;
    }
    if let Some(policy) = linux.and_then(|linux| linux.memory_policy().as_ref()) {
        schedule::set_memory_policy(policy)?;
    }
    let mut dev_is_ours = false;
    let mut shared = shared.into_iter().peekable();
    for (index, entry) in entries.iter().enumerate() {
        let given = launch.given(entry.destination()).map(Source::given).transpose()?;
        let peer = shared.next_if(|(place, _)| *place == index).map(|(_, source)| source);
        let source = given.or(peer).or(sources.next().flatten());
        if entry.typ().as_deref() == Some("cgroup") {
            let own = has_new_cgroup_namespace(spec);
            let manages = launch.manages_groups;
            cgroup::mount(root.as_fd(), entry, launch.cgroup, own, manages)?;
        } else {
            rootfs::apply(root.as_fd(), entry, source)?;
        }
        dev_is_ours |=
            entry.destination() == Path::new("/dev") && entry.typ().as_deref() == Some("tmpfs");
    }
    if dev_is_ours {
        let devices = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
        device::fill_dev(root.as_fd(), devices, launch.device_nodes)?;
    }
    if launch.stdio.is_none() {
        open_terminal(root.as_fd(), channel)?;
    } else if let Some(stdio) = &launch.stdio {
        stdio.install().context(|| "cannot pass on the standard descriptors")?;
    }
    rootfs::link_mtab(root.as_fd());
    if let Some(hooks) = spec.hooks() {
        if hooks::has_outer(hooks) {
            let wait = || channel.send_mounted().and_then(|()| channel.wait());
            if !wait().context(|| "cannot wait for the hooks")? {
                // The launcher has given up, and knows why.
                exit_now(125);
            }
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let hooks = hooks.create_container().as_deref();
        launch.bundle.run("createContainer", hooks, "created", pid)?;
    }
    mount::pivot_root(root.as_fd()).context(|| "cannot change the root directory")?;
    // Only now: the kernel moves no root that passes its mounts on.
    if let Some(word) = linux.and_then(|linux| linux.rootfs_propagation().as_deref()) {
        let (propagation, recursive) = options::propagation(word)?;
        let attributes = Attributes { propagation, ..Attributes::default() };
        mount::set_attributes(&root, attributes, recursive)
            .context(|| format!("cannot make the root file system {word}"))?;
    }
    set_parameters(spec)?;
    // The root's descriptor still names the mount that is now "/".
    if let Some(linux) = linux {
        rootfs::mask(root.as_fd(), linux.masked_paths().as_deref().unwrap_or_default())?;
        rootfs::make_read_only(
            root.as_fd(),
            linux.readonly_paths().as_deref().unwrap_or_default(),
        )?;
    }
    if spec.root().as_ref().is_some_and(|root| root.readonly() == Some(true)) {
        let attributes = Attributes { set: mount::READ_ONLY, ..Attributes::default() };
        mount::set_attributes(&root, attributes, false)
            .context(|| "cannot make the root file system read-only")?;
    }
    Ok(())
}

/// Makes the container's terminal, its standard descriptors, and gives the master side away.
fn open_terminal(root: BorrowedFd<'_>, channel: &Channel) -> Result<()> {
    let context = || "cannot make a terminal";
    let pts = rootfs::open_in(root, Path::new("/dev/pts"), OFlags::PATH | OFlags::DIRECTORY)
        .context(context)?;
    let master = terminal::open_ptmx(pts.as_fd(), "ptmx").context(context)?;
    let slave = terminal::pair(master.as_fd()).context(context)?;
    let console = rootfs::target(root, Path::new("/dev/console"), false)?;
    let tree = mount::clone_at(slave.as_fd(), false).context(context)?;
    mount::attach(tree, console).context(context)?;
    terminal::make_controlling(&slave).context(context)?;
    for number in 0..=2 {
        process::redirect(slave.as_fd(), number).context(context)?;
    }
    channel.send_terminal(master.as_fd()).context(context)
}

fn set_parameters(spec: &Spec) -> Result<()> {
    let linux = spec.linux().as_ref();
    for (name, value) in linux.and_then(|linux| linux.sysctl().as_ref()).into_iter().flatten() {
        proc::write(&check::sysctl_path(name), value)
            .context(|| format!("cannot set sysctl {name}={value}"))?;
    }
    Ok(())
}

/// The part after all foreign descriptors are closed.
fn finish(
    process: &Process,
    launch: &Launch<'_>,
    (mut channel, gate, agent): (Channel, Option<Gate>, Option<Agent>),
    settled: bool,
) -> Infallible {
    let ready = || {
        if let Some(accounts) = launch.accounts {
            user::add_host_users(&accounts.host_users);
        }
        let (identity, env) = identify(process, launch.user, launch.groups)?;
        if launch.make_cwd {
            make_dirs(process.cwd(), &identity)?;
        }
        let most = if matches!(launch.filter, FilterOf::Follows) { Filter::MOST_BYTES } else { 0 };
        let Some(given) = channel.wait_for(most).context(|| "cannot wait for the launcher")? else {
            // It has given up, and knows why.
            exit_now(125);
        };
        let filter = match launch.filter {
            FilterOf::Known(filter) => filter.map(Cow::Borrowed),
            FilterOf::Follows => Some(Cow::Owned(Filter::from_bytes(&given).ok_or_else(|| {
                Error::new(Kind::Internal, "the container was not given its system call filter")
            })?)),
        };
        if !matches!(launch.bond, Bond::Tied) {
            process::outlive_parent().context(|| "cannot let the container go")?;
        }
        if let Some(gate) = gate {
            find_program(process, &env)?;
            channel.send_waiting().context(|| "cannot tell that the container waits")?;
            channel = gate.wait().context(|| "cannot wait for the start")?;
        }
        if let Some(accounts) = launch.accounts {
            user::add_lines(&identity, process.cwd(), accounts);
        }
        // With our own process between it and the monitor, that one is tied.
        let tied = !launch.reaper && matches!(launch.bond, Bond::Tied);
        Ok(Program {
            process,
            identity,
            env,
            filter,
            own_stdio: true,
            files: launch.files,
            settled,
            tied,
            exact: launch.user.is_none(),
            agent,
            hooks: launch.spec.hooks().as_ref().map(|hooks| (launch.bundle, hooks)),
        })
    };
    let program = match ready() {
        Ok(program) => program,
        Err(error) => fail(&channel, &error),
    };
    if launch.reaper {
        reaper::run(&program, channel)
    }
    let Err(error) = program.exec();
    fail(&channel, &error)
}

/// Reports a failure and ends this process.
pub(super) fn fail(channel: &Channel, error: &Error) -> ! {
    channel.fail(error);
    exit_now(125)
}

/// Makes the image's working directory, as Docker does.
fn make_dirs(path: &Path, identity: &Identity) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)
        .context(|| format!("cannot make the working directory {}", path.display()))?;
    std::os::unix::fs::chown(path, Some(identity.uid), Some(identity.gid))
        .context(|| format!("cannot hand over the working directory {}", path.display()))
}
