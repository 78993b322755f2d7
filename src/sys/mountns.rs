//! Getting at mounts of another mount namespace.
//!
//! A mount can be cloned only in the namespace that it belongs to. Who enters that takes its paths for
//! its own, so a child does, which shares our descriptors: it clones the mount, and is gone.

use std::ffi::{CStr, c_int};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::clone;

/// Clones what is mounted at an absolute path in the mount namespace of a process, detached; with
/// what is mounted below it, if `recursive`.
///
/// No symbolic link is followed: what is there belongs to others.
pub fn clone_mount_of(
    process: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
) -> io::Result<OwnedFd> {
    clone::errand(|| clone_mount(process.as_raw_fd(), path, recursive))
}

fn clone_mount(process: c_int, path: &CStr, recursive: bool) -> c_int {
    // SAFETY: no memory is passed.
    if unsafe { libc::setns(process, libc::CLONE_NEWNS) } < 0 {
        return -clone::errno();
    }
    // SAFETY: all zeroes is the default of every field of this plain structure.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY) as u64;
    how.resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the path ends with a zero byte, the structure and its size agree, and both outlive the call.
    let place = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw const how,
            size_of_val(&how),
        )
    };
    if place < 0 {
        return -clone::errno();
    }
    let below = if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
    let flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32 | below;
    // SAFETY: the string ends with a zero byte and outlives the call.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, place, c"".as_ptr(), flags) };
    let answer = if tree < 0 { -clone::errno() } else { tree as c_int };
    // SAFETY: it was opened here, and nobody else knows it.
    unsafe { libc::close(place as c_int) };
    answer
}
