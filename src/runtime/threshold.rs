//! Making a container's first process where it cannot be made directly: in the process namespace of
//! another container, in another user namespace than ours, or with clocks of its own.
//!
//! A process enters a process namespace only by being born there, and who enters a user namespace
//! cannot come back; the monitor must do neither. So it sends a process ahead that does, has a child
//! there, and ends. The child is its sibling (`CLONE_PARENT`): the monitor's own child, as always.
//!
//! What needs the power that is left behind is done before, in this order:
//!
//! 1. Become unreadable: the container's processes may see this one soon, with the host's descriptors.
//! 2. Join the control groups, set the oom score and rlimits: all are inherited.
//! 3. For another user namespace: make the root file system and clone what is bound, in a mount
//!    namespace of our own, as detached mounts. In there, the paths of the host may lead nowhere.
//!    Layers and changes are shown with the owners that the container's IDs stand for, by idmapped
//!    mounts: what is on the disk stays as it is in the image.
//! 4. Join the namespaces that exist, the one of users last: it takes all power over the others away.
//! 5. Set clocks: a time namespace is made for one's children only, and can be set until there is one.
//! 6. Make the child with all new namespaces, which belong to the user namespace just joined.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};
use oci_spec::runtime::{LinuxNamespaceType, Mount};

use super::cgroup::Cgroup;
use super::channel::{Channel, Message};
use super::init;
use super::launch::{Launch, Starting};
use super::rootfs::{Source, Trees};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::{Child, clone_sibling, clone3, exit_now};
use crate::sys::{mount, process};

/// The user namespace of a container that has another one than we.
#[derive(Clone, Copy, Debug)]
pub struct UserNamespace<'a> {
    /// The namespace.
    pub namespace: BorrowedFd<'a>,
    /// How the owners of files are shown in it.
    pub owners: Owners,
    /// The user and group in it that set the container up: its root, if it has one.
    pub first: (u32, u32),
}

/// How the owners of files in the container's root file system are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// As they are on the disk.
    Kept,
    /// As the namespace maps them, by idmapped mounts. Who makes files for the kernel's own ends is
    /// this user and group of ours, which the namespace must map.
    Mapped(u32, u32),
}

/// Tells whether a launch needs this.
pub(super) fn is_needed(launch: &Launch<'_>) -> bool {
    launch.user_namespace.is_some()
        || launch.has_new(LinuxNamespaceType::Time)
        || launch.join.iter().any(|(_, kind)| *kind == libc::CLONE_NEWPID)
}

/// Makes the process.
pub(super) fn start(launch: &Launch<'_>) -> Result<Starting> {
    let (ours, theirs) = Channel::pair()?;
    let (news, news_theirs) = Channel::pair()?;
    let cgroup = launch.cgroup.and_then(Cgroup::v2_fd);
    let ahead = clone3(0, cgroup, || run(launch, theirs, &news_theirs))
        .context(|| "cannot send a process ahead")?;
    drop(news_theirs);
    let told = news.receive();
    // It ends as soon as it has told; its exit status says nothing more.
    process::wait(ahead.pidfd.as_fd()).context(|| "cannot wait for the process sent ahead")?;
    match told? {
        Message::Born(pid, pidfd) => {
            Ok(Starting::new(Child { pid, pidfd }, ours, launch.stdio.is_none()))
        }
        _ => Err(Error::new(Kind::Internal, "the process sent ahead lost its way")),
    }
}

fn run(launch: &Launch<'_>, channel: Channel, news: &Channel) -> Infallible {
    match cross(launch, channel) {
        Ok(child) => {
            let told = news.send_born(child.pid, child.pidfd.as_fd());
            exit_now(if told.is_ok() { 0 } else { 125 })
        }
        Err(error) => init::fail(news, &error),
    }
}

fn cross(launch: &Launch<'_>, channel: Channel) -> Result<Child> {
    process::hide().context(|| "cannot hide the process sent ahead")?;
    process::die_with_parent().context(|| "cannot tie the process sent ahead to its monitor")?;
    if let Some(cgroup) = launch.cgroup {
        cgroup.join().context(|| "cannot enter the container's cgroups")?;
    }
    init::settle(init::process_of(launch.spec)?)?;
    let trees = match &launch.user_namespace {
        Some(user) => Some(prepare(launch, user)?),
        None => None,
    };
    // Opened with the host's power over files.
    let clocks = match launch.has_new(LinuxNamespaceType::Time) {
        true => Some(
            File::options()
                .write(true)
                .open("/proc/self/timens_offsets")
                .context(|| "cannot set clocks: this kernel has no time namespaces")?,
        ),
        false => None,
    };
    init::join_all(launch.join)?;
    if let Some(user) = &launch.user_namespace {
        setns(user.namespace, CloneFlags::CLONE_NEWUSER)
            .context(|| "cannot join the user namespace")?;
    }
    if let Some(clocks) = clocks {
        set_clocks(launch, clocks)?;
    }
    clone_sibling(launch.namespaces(), || init::run(launch, channel, Some(trees)))
        .map_err(Launch::refused)
}

/// Makes a time namespace for the child, which its clocks are set in before anybody is there.
fn set_clocks(launch: &Launch<'_>, mut file: File) -> Result<()> {
    unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME))
        .context(|| "cannot make a time namespace")?;
    let linux = launch.spec.linux().as_ref();
    let offsets = linux.and_then(|linux| linux.time_offsets().as_ref());
    let lines: String = offsets
        .into_iter()
        .flatten()
        .map(|(clock, offset)| {
            let (seconds, nanoseconds) = (offset.secs(), offset.nanosecs());
            format!("{clock} {} {}\n", seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
        })
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    file.write_all(lines.as_bytes()).map_err(|error| {
        // A clock must not be below zero, nor end soon.
        let kind = match error.raw_os_error() {
            Some(libc::ERANGE | libc::EINVAL) => Kind::Invalid,
            _ => Kind::Internal,
        };
        Error::new(kind, format!("cannot set clocks: {}", lines.trim().replace('\n', ", ")))
            .caused_by(error)
    })
}

/// Makes the file systems that the container could not make itself.
fn prepare(launch: &Launch<'_>, user: &UserNamespace<'_>) -> Result<Trees> {
    unshare(CloneFlags::CLONE_NEWNS).context(|| "cannot make a mount namespace")?;
    mount::set_propagation_of_all(init::MS_SLAVE)
        .context(|| "cannot cut the mounts off from the host's")?;
    let root = launch.rootfs.tree(Some(user))?;
    let mounts = launch.spec.mounts().as_deref().unwrap_or_default();
    let prepare = |entry: &Mount| match launch.given(entry.destination()) {
        Some(_) => Ok(None),
        None => Source::prepare(entry, user),
    };
    let sources = mounts.iter().map(prepare).collect::<Result<_>>()?;
    Ok(Trees { root, sources })
}

/// Makes a detached clone of a mount show owners as the user namespace maps them.
pub(super) fn map_owners(tree: &OwnedFd, user: &UserNamespace<'_>) -> Result<()> {
    if user.owners == Owners::Kept {
        return Ok(());
    }
    show_owners(tree, user.namespace, false)
}

/// Makes a detached mount, and those below it if `recursive`, show owners as a user namespace maps them.
pub fn show_owners(tree: &OwnedFd, namespace: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    mount::map_owners(tree, namespace, recursive).map_err(|error| {
        Error::new(Kind::Unsupported, "cannot show files with other owners")
            .hint("idmapped mounts need Linux 5.12 (5.19 for overlay) and a file system that has them, as ext4, xfs or btrfs")
            .caused_by(error)
    })
}
