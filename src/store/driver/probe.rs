//! Finds out what works in a directory, by doing it.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::sys::root::remove_all;
use crate::sys::{btrfs as subvolume, clone, mount, process, socket, userns};

/// What was found out.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It works.
    Works,
    /// It does not, for this reason.
    Refused(String),
    /// There is no telling: without the power to do it.
    Unknown,
}

/// How the child that has tried says that it had no power to.
const POWERLESS: i32 = 2;

/// Tries an overlay in an empty directory, as containers will have it.
pub(super) fn overlay(dir: &Path) -> io::Result<Verdict> {
    for name in ["lower/dir", "upper", "work"] {
        fs::create_dir_all(dir.join(name))?;
    }
    fs::write(dir.join("lower/file"), "")?;
    fs::write(dir.join("lower/dir/inner"), "")?;
    let is_root = rustix::process::geteuid().is_root();
    let initial = userns::is_initial();
    if is_root {
        match use_overlay(dir, !initial) {
            Ok(()) => return Ok(Verdict::Works),
            // In a user namespace, mounts can be made in a mount namespace of it only.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && !initial => {}
            Err(error) => return Ok(Verdict::Refused(reason(&error))),
        }
    }
    in_child(dir, is_root)
}

/// Has a child try in namespaces of its own.
fn in_child(dir: &Path, is_root: bool) -> io::Result<Verdict> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let ids = (userns::IdRange::root(uid), userns::IdRange::root(gid));
    let (ours, theirs) = socket::pair(SocketType::STREAM)?;
    let child = clone::fork(|| {
        let power = if is_root { Ok(()) } else { userns::enter_alone(ids.0, ids.1) };
        let power = power.and_then(|()| unshare(CloneFlags::CLONE_NEWNS).map_err(io::Error::from));
        if power.is_err() {
            clone::exit_now(POWERLESS);
        }
        if let Err(error) = use_overlay(dir, true) {
            // Its end alone says enough.
            drop(fs::File::from(theirs).write_all(reason(&error).as_bytes()));
            clone::exit_now(1);
        }
        clone::exit_now(0)
    });
    // A process with threads cannot ask; the next command does.
    let Ok(child) = child else { return Ok(Verdict::Unknown) };
    let mut text = String::new();
    fs::File::from(ours).read_to_string(&mut text)?;
    match process::wait(child.pidfd.as_fd())? {
        0 => Ok(Verdict::Works),
        POWERLESS => Ok(Verdict::Unknown),
        _ => Ok(Verdict::Refused(text)),
    }
}

/// Mounts an overlay, detached, and does with it what needs more than a mount: a file of the layer is
/// removed, and a directory replaced by a new one.
fn use_overlay(dir: &Path, user_xattr: bool) -> io::Result<()> {
    let mut options = vec![("volatile".to_owned(), None)];
    if user_xattr {
        options.push(("userxattr".to_owned(), None));
    }
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| dir.join(name));
    let tree = mount::overlay(&[&lower], Some((&upper, &work)), &options, 0)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    drop(openat(&tree, "new", flags, Mode::from_raw_mode(0o600))?);
    unlinkat(&tree, "file", AtFlags::empty())?;
    remove_all(tree.as_fd(), b"dir")?;
    mkdirat(&tree, "dir", Mode::from_raw_mode(0o755))?;
    for gone in ["file", "dir/inner"] {
        match statat(&tree, gone, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(io::Error::other("what was removed is still there")),
        }
    }
    Ok(())
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NODEV) => "the kernel does not have it".to_owned(),
        // As the kernel has put it, without our number of it.
        _ => error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
    }
}

/// Tries subvolumes in an empty directory.
pub(super) fn btrfs(dir: &Path) -> io::Result<Verdict> {
    if !subvolume::is_here(dir)? {
        return Ok(Verdict::Refused("it is not on btrfs".to_owned()));
    }
    let [one, two] = ["one", "two"].map(|name| dir.join(name));
    let tried = subvolume::create(&one)
        .and_then(|()| subvolume::snapshot(&one, &two))
        // Needs Linux 4.18.
        .and_then(|()| [&one, &two].into_iter().try_for_each(fs::remove_dir));
    Ok(match tried {
        Ok(()) => Verdict::Works,
        Err(error) => Verdict::Refused(reason(&error)),
    })
}
