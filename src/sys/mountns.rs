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
    clone::errand(|| clone_mount(process.as_raw_fd(), path, None, recursive))
}

/// Clones a part of what is mounted at an absolute path in the mount namespace of a process, detached.
///
/// The part's path is looked up as if that mount were all there is: it leads nowhere else.
pub fn clone_part_of(process: BorrowedFd<'_>, path: &CStr, part: &CStr) -> io::Result<OwnedFd> {
    clone::errand(|| clone_mount(process.as_raw_fd(), path, Some(part), false))
}

fn clone_mount(process: c_int, path: &CStr, part: Option<&CStr>, recursive: bool) -> c_int {
    // SAFETY: no memory is passed.
    if unsafe { libc::setns(process, libc::CLONE_NEWNS) } < 0 {
        return -clone::errno();
    }
    let resolve = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    let mut place = open_beneath(libc::AT_FDCWD, path, libc::O_DIRECTORY, resolve);
    if let (Some(part), true) = (part, place >= 0) {
        let whole = place;
        let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_NO_XDEV;
        place = open_beneath(whole, part, 0, resolve);
        // SAFETY: it was opened here, and nobody else knows it.
        unsafe { libc::close(whole) };
    }
    if place < 0 {
        return place;
    }
    let below = if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
    let flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32 | below;
    // SAFETY: the string ends with a zero byte and outlives the call.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, place, c"".as_ptr(), flags) };
    let answer = if tree < 0 { -clone::errno() } else { tree as c_int };
    // SAFETY: it was opened here, and nobody else knows it.
    unsafe { libc::close(place) };
    answer
}

/// Opens a path for what it names only; returns a negative error number if that fails.
fn open_beneath(dir: c_int, path: &CStr, flags: c_int, resolve: u64) -> c_int {
    // SAFETY: all zeroes is the default of every field of this plain structure.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC | flags) as u64;
    how.resolve = resolve;
    // SAFETY: the path ends with a zero byte, the structure and its size agree, and both outlive the call.
    let opened = unsafe {
        libc::syscall(libc::SYS_openat2, dir, path.as_ptr(), &raw const how, size_of_val(&how))
    };
    if opened < 0 { -clone::errno() } else { opened as c_int }
}
