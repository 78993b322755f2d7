//! Signals as something to read, and their masks.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// Signals that are taken from a descriptor instead of interrupting.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks these signals and makes them readable.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        hold(signals)?;
        Self::of_held(signals)
    }

    /// Makes those of these signals readable that are held back; the others go their usual way.
    pub fn of_held(signals: &[i32]) -> io::Result<Self> {
        let set = set_of(signals);
        // SAFETY: the set is a whole structure that outlives the call.
        match unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }
        {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the kernel has just made it, and nobody else owns it.
            fd => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
        }
    }

    /// Returns the next signal that has arrived, if one has.
    pub fn next(&self) -> io::Result<Option<i32>> {
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut info[..]) {
            // The structure begins with the number.
            Ok(_) => Ok(Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Holds signals back: they wait until somebody takes them.
pub fn hold(signals: &[i32]) -> io::Result<()> {
    mask(libc::SIG_BLOCK, &set_of(signals))
}

/// Holds signals back no longer: one that waits arrives now.
pub fn release(signals: &[i32]) -> io::Result<()> {
    mask(libc::SIG_UNBLOCK, &set_of(signals))
}

/// Takes one of these signals that was held back, if one has come.
pub fn take_held(signals: &[i32]) -> Option<i32> {
    let set = set_of(signals);
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both structures are whole and outlive the call; a null pointer means: no facts wanted.
    let signal =
        unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const none) };
    (signal > 0).then_some(signal)
}

/// Tells whether one of these signals has come that was held back; it stays for who takes it.
pub fn is_held(signals: &[i32]) -> bool {
    let mut set = set_of(&[]);
    // SAFETY: the pointer refers to a whole structure.
    if unsafe { libc::sigpending(&raw mut set) } != 0 {
        return false;
    }
    // SAFETY: the set is whole; a number that is no signal is no member.
    signals.iter().any(|signal| unsafe { libc::sigismember(&raw const set, *signal) } == 1)
}

/// Gives all signals their default action and blocks none: what a new program expects.
pub fn reset_all() -> io::Result<()> {
    for signal in 1..=64 {
        // SAFETY: the default action runs none of our code. KILL, STOP and the two that the C
        // library keeps are refused, which is fine.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    mask(libc::SIG_SETMASK, &set_of(&[]))
}

/// Ignores a signal.
pub fn ignore(signal: i32) {
    // SAFETY: ignoring runs none of our code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: all zeroes is a valid value of this plain structure.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer refers to a whole structure.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: as above; a number that is no signal is refused.
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

fn mask(how: i32, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is a whole structure; a null pointer means: the old mask is not wanted.
    match unsafe { libc::sigprocmask(how, std::ptr::from_ref(set), std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
