//! Sockets and settings of other network namespaces.
//!
//! A socket belongs to the namespace in which it was made, for good, and so does an open file below
//! `/proc/sys/net`: descriptors are all that is needed to set a namespace up from outside. The
//! caller's thread never enters the namespace: without root it could not come back, since the host's
//! network belongs to the initial user namespace. A child that shares memory and descriptors enters
//! it, opens what is asked for, and is gone.

use std::ffi::{CStr, c_int};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::clone;

/// `_IO(0xb7, 0x1)`, which `libc` has for no C library but glibc.
const NS_GET_USERNS: libc::Ioctl = 0xb701;

/// Makes a socket in another network namespace; it is closed on exec.
pub fn socket_in(
    netns: BorrowedFd<'_>,
    domain: c_int,
    kind: c_int,
    protocol: c_int,
) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    open_in(netns, || unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })
}

/// Opens a setting of another network namespace for writing: a file below `/proc/sys/net`.
pub fn setting_in(netns: BorrowedFd<'_>, path: &CStr) -> io::Result<File> {
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    // SAFETY: the path ends with a zero byte and outlives the call.
    open_in(netns, || unsafe { libc::open(path.as_ptr(), flags) }).map(File::from)
}

/// Opens what tells of another network namespace for reading: a file below `/proc/self/net`.
pub fn file_in(netns: BorrowedFd<'_>, path: &CStr) -> io::Result<File> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: the path ends with a zero byte and outlives the call.
    open_in(netns, || unsafe { libc::open(path.as_ptr(), flags) }).map(File::from)
}

/// Opens the user namespace that a network namespace belongs to; who is not in that or above it, is
/// not told.
pub fn owner(netns: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument.
    match unsafe { libc::ioctl(netns.as_raw_fd(), NS_GET_USERNS) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just opened this descriptor for us; nobody else knows it.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// Makes a network namespace, and nobody in it.
pub fn make() -> io::Result<OwnedFd> {
    clone::errand(|| {
        // SAFETY: no memory is passed; the child shares no namespaces with us that it could take away.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
            return -clone::errno();
        }
        let path = c"/proc/self/ns/net";
        // SAFETY: the path ends with a zero byte and outlives the call.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        if fd < 0 { -clone::errno() } else { fd }
    })
}

fn open_in(netns: BorrowedFd<'_>, open: impl FnOnce() -> c_int) -> io::Result<OwnedFd> {
    clone::errand(|| {
        // SAFETY: no memory is passed.
        if unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
            return -clone::errno();
        }
        let fd = open();
        if fd < 0 { -clone::errno() } else { fd }
    })
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
    fn tells_whose_a_namespace_is() {
        let netns = File::open("/proc/thread-self/ns/net").unwrap();
        let number = |file: &dyn AsFd| rustix::fs::fstat(file.as_fd()).unwrap().st_ino;
        match owner(netns.as_fd()) {
            Ok(owner) => {
                let own = File::open("/proc/thread-self/ns/user").unwrap();
                assert_eq!(number(&owner), number(&own));
            }
            // In a user namespace below that of the network.
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
        let file = File::open("/dev/null").unwrap();
        assert!(owner(file.as_fd()).is_err());
    }

    #[test]
    fn reports_a_descriptor_that_is_no_namespace() {
        let file = File::open("/dev/null").unwrap();
        let error = socket_in(file.as_fd(), libc::AF_INET, libc::SOCK_DGRAM, 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
