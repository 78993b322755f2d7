//! Making processes without exec. The only place that does.
//!
//! The child of a process with several threads owns locks that nobody will ever release (the
//! allocator's among them), so these functions refuse to work where there is more than one thread.
//! Programs with threads re-execute themselves instead.

use std::convert::Infallible;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow};

/// How often, and after what time each, it is looked whether other threads are gone.
const GLANCES: usize = 20;
const GLANCE: Duration = Duration::from_micros(100);

/// `CLONE_INTO_CGROUP`, which does not fit the type that `libc` gives it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A process that was just made.
#[derive(Debug)]
pub struct Child {
    /// Process ID as the parent sees it.
    pub pid: i32,
    /// Descriptor of the process; readable when it has ended.
    pub pidfd: OwnedFd,
}

/// Makes a child process in new namespaces (`flags` are `CLONE_NEW…`), in a cgroup v2 if one is given.
pub fn clone3(
    flags: i32,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> Infallible,
) -> io::Result<Child> {
    // SAFETY: all zeroes is the documented default of every field of this plain structure.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(flags.cast_unsigned());
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    }
    make(args, child)
}

/// Makes a sibling: a child of our own parent, in new namespaces. It tells its parent of its end as
/// we do.
pub fn clone_sibling(flags: i32, child: impl FnOnce() -> Infallible) -> io::Result<Child> {
    // SAFETY: all zeroes is the documented default of every field of this plain structure.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(flags.cast_unsigned()) | libc::CLONE_PARENT as u64;
    make(args, child)
}

fn make(mut args: libc::clone_args, child: impl FnOnce() -> Infallible) -> io::Result<Child> {
    assert_single_threaded()?;
    let mut pidfd: i32 = -1;
    args.flags |= libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    // SAFETY: without CLONE_VM the child has its own copy of all memory, as after fork; the check
    // above makes sure that no other thread holds a lock in that copy.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) } {
        -1 => Err(io::Error::last_os_error()),
        0 => run(child),
        pid => {
            let pid = i32::try_from(pid).map_err(io::Error::other)?;
            // SAFETY: the kernel has just put a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid, pidfd })
        }
    }
}

/// Makes a child process that shares nothing but descriptors.
pub fn fork(child: impl FnOnce() -> Infallible) -> io::Result<Child> {
    clone3(0, None, child)
}

/// Makes a child process that runs in our memory, and waits until it has left it by exec or has ended.
///
/// For a child that does little before exec: nothing of our memory has to be copied for it. What it
/// changes there is changed for us, too.
pub fn vfork(child: impl FnOnce() -> Infallible) -> io::Result<Child> {
    assert_single_threaded()?;
    let (pid, pidfd) = in_our_memory(libc::CLONE_PIDFD | libc::SIGCHLD, || run(child))?;
    // SAFETY: the kernel has just put a new descriptor there, which nobody else owns.
    Ok(Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Has a child that shares our memory and descriptors open something where this process cannot go and
/// come back. `open` returns the descriptor, or the error number with its sign changed; it makes
/// system calls and nothing else. There may be other threads.
pub(super) fn errand(open: impl FnOnce() -> c_int) -> io::Result<OwnedFd> {
    let mut answer = -libc::ECANCELED;
    // Without a signal at its end nobody else's wait sees it.
    let (pid, _) = in_our_memory(libc::CLONE_FILES, || {
        answer = open();
        0
    })?;
    reap(pid)?;
    match answer {
        // SAFETY: the child opened this descriptor for us; nobody else knows it.
        fd if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Runs a child in our memory until it has left it; returns its number, and its descriptor if `flags`
/// ask for one.
fn in_our_memory<F: FnOnce() -> c_int>(flags: c_int, child: F) -> io::Result<(c_int, c_int)> {
    let mut child = Some(child);
    // Room for what leads to an exec; aligned by its type.
    let mut stack = vec![0u128; 4096];
    let mut pidfd = -1;
    // None of our signal handlers may run in the child.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | flags;
    // SAFETY: `CLONE_VFORK` keeps this thread here until the child has left: `stack`, `child` and
    // `pidfd` outlive it, and nobody else touches them.
    let pid = unsafe {
        libc::clone(run_in_ours::<F>, top, flags, (&raw mut child).cast(), &raw mut pidfd)
    };
    let failed = (pid < 0).then(io::Error::last_os_error);
    mask.thread_set_mask()?;
    failed.map_or(Ok((pid, pidfd)), Err)
}

/// The child of [`in_our_memory`].
extern "C" fn run_in_ours<F: FnOnce() -> c_int>(argument: *mut c_void) -> c_int {
    // SAFETY: the parent passes its `Option<F>` and waits; we are the only one who uses it.
    let child = unsafe { &mut *argument.cast::<Option<F>>() };
    child.take().map_or(125, |child| child())
}

/// Returns why the last system call failed, for the child of an [`errand`].
pub(super) fn errno() -> c_int {
    // SAFETY: has no preconditions; the child borrows the thread-local storage of its parent.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: the location is valid for as long as the thread, which waits for the child.
    unsafe { *location }
}

/// Collects a child that has already ended.
fn reap(pid: c_int) -> io::Result<()> {
    let mut status = MaybeUninit::<c_int>::uninit();
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

/// Runs the child's part. It leaves by exec or `exit_now`; a panic ends it like a failure.
fn run(child: impl FnOnce() -> Infallible) -> ! {
    drop(catch_unwind(AssertUnwindSafe(child)));
    exit_now(125)
}

/// Ends the process at once, without the exit handlers that belong to the parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: no preconditions; it does not return.
    unsafe { libc::_exit(code) }
}

/// Fails if there are several threads.
pub(super) fn assert_single_threaded() -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    for _ in 0..GLANCES {
        // A directory's link count is 2 and one for each directory in it: here, for each thread.
        match std::fs::metadata("/proc/self/task") {
            // One that was joined just now is seen for another moment.
            Ok(tasks) if tasks.nlink() > 3 => std::thread::sleep(GLANCE),
            // Without /proc there is no telling; the callers know what they do.
            _ => return Ok(()),
        }
    }
    Err(io::Error::other("this process has several threads"))
}
