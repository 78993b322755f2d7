//! Getting at mounts of another mount namespace.
//!
//! A mount can be cloned only in the namespace that it belongs to. Who enters that takes its paths for
//! its own, so a child does, which shares our descriptors: it clones the mount, and is gone.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow};

/// What the child needs and what it found, on the parent's stack.
struct Errand<'a> {
    process: c_int,
    path: &'a CStr,
    recursive: bool,
    /// The descriptor, or the error number with its sign changed.
    answer: c_int,
}

/// Clones what is mounted at an absolute path in the mount namespace of a process, detached; with
/// what is mounted below it, if `recursive`.
///
/// No symbolic link is followed: what is there belongs to others.
pub fn clone_mount_of(
    process: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
) -> io::Result<OwnedFd> {
    let mut errand =
        Errand { process: process.as_raw_fd(), path, recursive, answer: -libc::ECANCELED };
    // Room for four system calls; aligned by its type.
    let mut stack = vec![0u128; 2048];
    // The child runs in our memory: none of our signal handlers may run in it.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let pid = {
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
        // SAFETY: `CLONE_VFORK` keeps this thread here until the child has ended, so `stack` and
        // `errand` outlive it and nobody else touches them; the child makes a few system calls and
        // nothing else. Without an exit signal nobody else's wait sees it.
        unsafe { libc::clone(run, top, flags, (&raw mut errand).cast()) }
    };
    let cloned = if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) };
    let reaped = cloned.and_then(super::netns::reap);
    mask.thread_set_mask()?;
    reaped?;
    match errand.answer {
        // SAFETY: the child opened this descriptor for us; nobody else knows it.
        fd if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// The child.
extern "C" fn run(argument: *mut c_void) -> c_int {
    // SAFETY: the parent passes its `Errand` and waits; we are the only one who uses it.
    let errand = unsafe { &mut *argument.cast::<Errand<'_>>() };
    errand.answer = clone_mount(errand.process, errand.path, errand.recursive);
    0
}

fn clone_mount(process: c_int, path: &CStr, recursive: bool) -> c_int {
    // SAFETY: no memory is passed.
    if unsafe { libc::setns(process, libc::CLONE_NEWNS) } < 0 {
        return -super::netns::errno();
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
        return -super::netns::errno();
    }
    let below = if recursive { libc::AT_RECURSIVE as u32 } else { 0 };
    let flags =
        libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32 | below;
    // SAFETY: the string ends with a zero byte and outlives the call.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, place, c"".as_ptr(), flags) };
    let answer = if tree < 0 { -super::netns::errno() } else { tree as c_int };
    // SAFETY: it was opened here, and nobody else knows it.
    unsafe { libc::close(place as c_int) };
    answer
}
