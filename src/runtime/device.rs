//! The container's /dev: device nodes, and links that every program expects.

use std::os::fd::BorrowedFd;
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::rootfs::target;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::mount;

/// The devices that every container has: name, major and minor number.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// The links that every container has in /dev.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Fills /dev: with device nodes, or with the host's by bind mounts where nodes cannot be made.
pub(super) fn fill_dev(root: BorrowedFd<'_>, more: &[LinuxDevice], nodes: bool) -> Result<()> {
    let dev = target(root, Path::new("/dev"), true)?;
    for (name, major, minor) in DEVICES {
        if nodes {
            let mode = Mode::from_raw_mode(0o666);
            let device = rustix::fs::makedev(major, minor);
            match rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, device) {
                Ok(()) => {
                    // The umask took some bits.
                    rustix::fs::chmodat(&dev, name, mode, AtFlags::empty())
                        .context(|| format!("cannot make /dev/{name}"))?;
                    continue;
                }
                // The directory is the host's, bound by the user.
                Err(Errno::EXIST) => continue,
                Err(Errno::PERM) => {}
                Err(error) => return Err(error).context(|| format!("cannot make /dev/{name}")),
            }
        }
        bind_device(root, &Path::new("/dev").join(name), &Path::new("/dev").join(name))?;
    }
    for (to, name) in LINKS {
        match rustix::fs::symlinkat(to, &dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).context(|| format!("cannot make /dev/{name}")),
        }
    }
    for device in more {
        add_device(root, device, nodes)?;
    }
    Ok(())
}

fn bind_device(root: BorrowedFd<'_>, source: &Path, path: &Path) -> Result<()> {
    let context = || format!("cannot show device {} in the container", source.display());
    let tree = mount::clone_tree(source, false).context(context)?;
    mount::attach(&tree, target(root, path, false)?).context(context)
}

fn add_device(root: BorrowedFd<'_>, device: &LinuxDevice, nodes: bool) -> Result<()> {
    let path = device.path();
    let context = || format!("cannot make device {}", path.display());
    if !nodes {
        return bind_device(root, path, path);
    }
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new(Kind::Invalid, context()));
    };
    let number = |number: i64| u32::try_from(number).unwrap_or(0);
    let parent = target(root, parent, true)?;
    let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777);
    let id = rustix::fs::makedev(number(device.major()), number(device.minor()));
    match rustix::fs::mknodat(&parent, name, kind, mode, id) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error).context(context),
    }
    rustix::fs::chmodat(&parent, name, mode, AtFlags::empty()).context(context)?;
    rustix::fs::chownat(
        &parent,
        name,
        device.uid().map(rustix::fs::Uid::from_raw),
        device.gid().map(rustix::fs::Gid::from_raw),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .context(context)
}
