//! Sockets and settings of other network namespaces.
//!
//! A socket belongs to the namespace in which it was made, for good, and so does an open file below
//! `/proc/sys/net`: descriptors are all that is needed to set a namespace up from outside. The
//! caller's thread never enters the namespace: without root it could not come back, since the host's
//! network belongs to the initial user namespace. A child that shares memory and descriptors enters
//! it, opens what is asked for, and is gone.

use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow};

/// What the child opens in the namespace.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// A socket: domain, type and protocol.
    Socket(c_int, c_int, c_int),
    /// A file for writing.
    File(&'a CStr),
}

/// What the child needs and what it found, on the parent's stack.
struct Errand<'a> {
    netns: c_int,
    wanted: Wanted<'a>,
    /// The descriptor, or the error number with its sign changed.
    answer: c_int,
}

/// Makes a socket in another network namespace; it is closed on exec.
pub fn socket_in(
    netns: BorrowedFd<'_>,
    domain: c_int,
    kind: c_int,
    protocol: c_int,
) -> io::Result<OwnedFd> {
    open_in(netns, Wanted::Socket(domain, kind | libc::SOCK_CLOEXEC, protocol))
}

/// Opens a setting of another network namespace for writing: a file below `/proc/sys/net`.
pub fn setting_in(netns: BorrowedFd<'_>, path: &CStr) -> io::Result<File> {
    open_in(netns, Wanted::File(path)).map(File::from)
}

fn open_in(netns: BorrowedFd<'_>, wanted: Wanted<'_>) -> io::Result<OwnedFd> {
    let mut errand = Errand { netns: netns.as_raw_fd(), wanted, answer: -libc::ECANCELED };
    // Room for two system calls; aligned by its type.
    let mut stack = vec![0u128; 2048];
    // The child runs in our memory: none of our signal handlers may run in it.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let pid = {
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;
        // SAFETY: `CLONE_VFORK` keeps this thread here until the child has ended, so `stack` and
        // `errand` outlive it and nobody else touches them; the child makes two system calls and
        // nothing else. Without an exit signal nobody else's wait sees it.
        unsafe { libc::clone(run, top, flags, (&raw mut errand).cast()) }
    };
    let cloned = if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) };
    let reaped = cloned.and_then(reap);
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
    errand.answer = open(errand.netns, errand.wanted);
    0
}

fn open(netns: c_int, wanted: Wanted<'_>) -> c_int {
    // SAFETY: no memory is passed.
    if unsafe { libc::setns(netns, libc::CLONE_NEWNET) } < 0 {
        return -errno();
    }
    let fd = match wanted {
        // SAFETY: no memory is passed.
        Wanted::Socket(domain, kind, protocol) => unsafe { libc::socket(domain, kind, protocol) },
        // SAFETY: the path ends with a zero byte and the parent keeps it.
        Wanted::File(path) => unsafe {
            libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC)
        },
    };
    if fd < 0 { -errno() } else { fd }
}

pub(super) fn errno() -> c_int {
    // SAFETY: has no preconditions; the child borrows the thread-local storage of its parent.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: the location is valid for as long as the thread, which waits for the child.
    unsafe { *location }
}

/// Collects the child, which has already ended.
pub(super) fn reap(pid: c_int) -> io::Result<()> {
    let mut status = mem::MaybeUninit::<c_int>::uninit();
    loop {
        // SAFETY: `status` has room for the one number that is written.
        match unsafe { libc::waitpid(pid, status.as_mut_ptr(), libc::__WALL) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn makes_a_socket_in_our_own_namespace_or_says_why_not() {
        let netns = File::open("/proc/thread-self/ns/net").unwrap();
        match socket_in(netns.as_fd(), libc::AF_INET, libc::SOCK_DGRAM, 0) {
            Ok(fd) => assert!(fd.as_raw_fd() > 2),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
    }

    #[test]
    fn reports_a_descriptor_that_is_no_namespace() {
        let file = File::open("/dev/null").unwrap();
        let error = socket_in(file.as_fd(), libc::AF_INET, libc::SOCK_DGRAM, 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
