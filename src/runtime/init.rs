//! What a container's first process does before it becomes the user's program.
//!
//! The order is security. Read this before moving a line:
//!
//! 1. Become unreadable for others: until exec this is our own program with the host's descriptors.
//!    Join the cgroups, while the process is still free to.
//! 2. Die with the monitor, so that nothing runs unwatched; one that is made to outlive its launcher,
//!    only until all is made.
//! 3. Join namespaces that exist, while the host's paths and capabilities are there. Make the cgroup
//!    namespace only now: its root is the cgroup of this moment.
//! 4. Cut mount propagation to the host, mount everything beneath the new root, then `pivot_root`;
//!    from here on no path leads outside.
//!    Hooks of the OCI that are run here see the host's root for the last time, by the user's order.
//! 5. Mask paths after everything is mounted, so that nothing covers a mask.
//! 6. Set kernel parameters while /proc/sys can be written; only then make it, and the root, read-only.
//! 7. Close every descriptor but the channel, the standard ones and those that the user passes on, *before* changing to the working
//!    directory: a directory of the host must not be reachable as /proc/self/fd/N (CVE-2024-21626).
//! 8. Read the container's user files from inside the container.
//! 9. Rlimits and oom score need capabilities, dropping the bounding set too: before changing the user.
//! 10. Without `no_new_privs`, the filter needs CAP_SYS_ADMIN: it is installed before the change of
//!     user and the filter must let that pass; with it, last of all.
//! 11. Wait for the launcher's go (the network) at the last moment, so that all above runs beside it.
//!
//! In another user namespace, or in another container's process namespace, a process sent ahead has
//! done the first steps (see `threshold`): there, this one begins as the root of that namespace, with
//! the file systems that it could not make itself.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use oci_spec::runtime::{Hooks, LinuxNamespaceType, LinuxPersonalityDomain, Process, Spec};
use rustix::fs::{Mode, OFlags};

use super::capability::{Capabilities, CapabilitySet};
use super::channel::Channel;
use super::gate::Gate;
use super::hooks::{self, Bundle};
use super::launch::{Bond, Launch};
use super::rootfs::{Source, Trees};
use super::seccomp::{Agent, Filter};
use super::user::Identity;
use super::{cgroup, check, device, label, options, proc, reaper, rlimit, rootfs, schedule, user};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::exit_now;
use crate::sys::mount::{self, Attributes};
use crate::sys::process::Passed;
use crate::sys::{process, signal, terminal};

pub(super) const MS_SLAVE: u64 = 1 << 19;

/// The number under which the channel is kept while other descriptors are closed.
const CHANNEL: i32 = 3;

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
    let agent = agent(launch.filter, |pid| launch.bundle.state("creating", pid))?;
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

/// What is kept beside the channel: a gate, an agent.
type More<T> = [Option<T>; 2];

/// Closes every descriptor but the standard ones, those that the user passes on, the channel, and
/// what is to be kept beside it.
pub(super) fn keep_channel(
    channel: &Channel,
    more: More<BorrowedFd<'_>>,
    files: &[Passed],
) -> std::io::Result<(Channel, More<OwnedFd>)> {
    if !files.is_empty() || more.iter().any(Option::is_some) {
        return keep_files(channel, more, files);
    }
    if channel.as_fd().as_raw_fd() != CHANNEL {
        process::redirect(channel.as_fd(), CHANNEL)?;
    }
    process::close_from(CHANNEL.unsigned_abs() + 1)?;
    Ok((Channel::from_fd(process::inherited(CHANNEL)?), [None, None]))
}

/// Puts what the user passes on under its numbers, and the channel and more behind.
fn keep_files(
    channel: &Channel,
    more: More<BorrowedFd<'_>>,
    files: &[Passed],
) -> std::io::Result<(Channel, More<OwnedFd>)> {
    let behind = files.iter().map(|it| it.number + 1).fold(CHANNEL, i32::max);
    // Out of the way of all numbers that are about to be replaced.
    let high = |file: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(file, behind + 3);
    let moved_channel = high(channel.as_fd())?;
    let [first, second] = more.map(|file| file.map(high).transpose());
    let moved_more = [first?, second?];
    let moved: Vec<OwnedFd> =
        files.iter().map(|it| high(it.file.as_fd())).collect::<Result<_, _>>()?;
    for number in CHANNEL..behind {
        match files.iter().position(|it| it.number == number) {
            Some(index) => process::redirect(moved[index].as_fd(), number)?,
            None => process::close_number(number)?,
        }
    }
    process::redirect(moved_channel.as_fd(), behind)?;
    for (file, number) in moved_more.iter().zip(behind + 1..) {
        match file {
            Some(file) => process::redirect(file.as_fd(), number)?,
            None => process::close_number(number)?,
        }
    }
    let kept = moved_more.map(|file| file.is_some());
    drop((moved_channel, moved));
    process::close_from(behind.unsigned_abs() + 3)?;
    let take = |index, number| match kept[index] {
        true => process::inherited(number).map(Some),
        false => Ok(None),
    };
    let more = [take(0, behind + 1)?, take(1, behind + 2)?];
    Ok((Channel::from_fd(process::inherited(behind)?), more))
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
        if !channel.wait().context(|| "cannot wait for the launcher")? {
            // It has given up, and knows why.
            exit_now(125);
        }
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
            filter: launch.filter,
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

/// The user's program, ready to run in this process.
pub(super) struct Program<'a> {
    /// What and how.
    pub(super) process: &'a Process,
    /// As whom.
    pub(super) identity: Identity,
    /// Its whole environment.
    pub(super) env: Vec<String>,
    /// Its system call filter.
    pub(super) filter: Option<&'a Filter>,
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
        let Some(filter) = self.filter else { return Ok(()) };
        let listener = filter.install().context(|| "cannot install the seccomp filter")?;
        match (listener, &self.agent) {
            (Some(listener), Some(agent)) => agent
                .hand_over(listener.as_fd())
                .context(|| "cannot hand the seccomp listener over"),
            _ => Ok(()),
        }
    }
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

/// Says so early if there is no such program: who creates a container wants to know it then.
fn find_program(process: &Process, env: &[String]) -> Result<()> {
    let name = process.args().iter().flatten().next().map_or("", String::as_str);
    let there = |path: &String| !path.is_empty() && process.cwd().join(path).exists();
    if candidates(name, env).iter().any(there) { Ok(()) } else { Err(not_found(name)) }
}

fn not_found(name: &str) -> Error {
    let place = if name.contains('/') { "" } else { " in $PATH" };
    let message = format!("executable file `{name}` not found{place}: no such file or directory");
    Error::new(Kind::CommandNotFound, message)
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
