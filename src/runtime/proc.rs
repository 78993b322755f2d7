//! Files in the container's /proc that are written to with power that the container does not have.
//!
//! What lies there was put together from an image and the user's mounts. A volume on top of it, or a
//! link in its place, would send what is written to a file of the whole machine, as
//! /proc/sys/kernel/core_pattern (CVE-2025-52881 and its like). So it must be the kernel's own, at
//! its root, with nothing mounted on the way.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// What `statfs` calls the file system.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// The number of its root directory.
const PROC_ROOT: u64 = 1;

/// Writes to a file that is named from /proc.
pub(super) fn write(path: &str, text: &str) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::openat(CWD, "/proc", flags, Mode::empty())?;
    let is_kernels = rustix::fs::fstatfs(&proc)?.f_type == PROC_SUPER_MAGIC
        && rustix::fs::fstat(&proc)?.st_ino == PROC_ROOT;
    if !is_kernels {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "/proc is not the kernel's"));
    }
    // Its only links are the kernel's, as `self`; those that lead out of it are not followed.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(&proc, path, flags, Mode::empty(), resolve).map_err(
        |error| match error {
            rustix::io::Errno::XDEV => {
                io::Error::new(ErrorKind::PermissionDenied, "something is mounted on it")
            }
            other => other.into(),
        },
    )?;
    // One write: the kernel takes each for a command of its own.
    File::from(file).write_all(text.as_bytes())
}
