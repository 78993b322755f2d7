//! Our own executable, protected from containers.
//!
//! A process that enters a container shows its executable there as /proc/PID/exe. Opened at the
//! right moment by the container's root, that is a writable handle on the file on the host
//! (CVE-2019-5736). So what enters a container never runs from the host's file but from a read-only
//! overlay without an upper layer, detached from any namespace: the same page cache, no copy, and
//! no way to write. Where no overlay can be made, from a sealed copy in memory.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

use rustix::net::SocketType;

use super::clone::{clone3, exit_now};
use super::{mount, process, socket};

/// The kernel wants two lower directories, and refuses one that lies within the other: this one is
/// on a file system where nobody has an executable. Nothing is mounted below it: a user namespace
/// may not use a directory without what is mounted over parts of it.
const OTHER: &str = "/sys/class";

/// Opens our own executable in a form that cannot be written through.
pub fn sealed() -> io::Result<OwnedFd> {
    let path = std::fs::read_link("/proc/self/exe")?;
    let file = match overlaid(&path) {
        // In a user namespace, mounts can be made in a mount namespace of it only.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => overlaid_elsewhere(&path),
        other => other,
    };
    file.or_else(|_| copied())
}

/// Has a child make the overlay in a mount namespace of its own. The open file outlives both.
fn overlaid_elsewhere(path: &Path) -> io::Result<OwnedFd> {
    let (ours, theirs) = socket::pair(SocketType::SEQPACKET)?;
    let child = clone3(libc::CLONE_NEWNS, None, || {
        if let Ok(file) = overlaid(path) {
            let _nobody_listens = socket::send(theirs.as_fd(), b"f", Some(file.as_fd()));
        }
        exit_now(0)
    })?;
    drop(theirs);
    let received = socket::receive(ours.as_fd(), &mut [0]);
    process::wait(child.pidfd.as_fd())?;
    received?.1.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn overlaid(path: &Path) -> io::Result<OwnedFd> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let tree =
        mount::overlay(&[dir, Path::new(OTHER)], None, &[], mount::READ_ONLY | mount::NO_SUID)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(&tree, name, flags, Mode::empty())?;
    // The file may have been replaced by another version since we were started.
    let (found, own) = (rustix::fs::fstat(&file)?, rustix::fs::stat("/proc/self/exe")?);
    if found.st_ino != own.st_ino || found.st_size != own.st_size {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(file)
}

fn copied() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(rustix::fs::memfd_create(c"barge", flags)?);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    copy.rewind()?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(copy.as_fd(), seals)?;
    // A descriptor that was opened for writing cannot be executed.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}
