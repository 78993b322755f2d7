//! Starting ourselves anew as a process that outlives us.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::clone::{exit_now, fork};
use super::process::{Words, close_from_at_exec, exec_file, redirect};

/// The number of the first descriptor that a detached process is given.
pub const FIRST_FILE: i32 = 3;

/// Starts the program in `executable` in a session of its own, with nothing of ours but `files`.
///
/// Its standard descriptors are /dev/null: nothing keeps the caller's pipes and terminals open.
/// `files` get the numbers from [`FIRST_FILE`] on.
pub fn detached(
    executable: BorrowedFd<'_>,
    args: &Words,
    env: &Words,
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // Above all numbers that are about to be replaced.
    let first_free = FIRST_FILE + i32::try_from(files.len()).map_err(io::Error::other)? + 1;
    let high = |file: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(file, first_free);
    let executable = high(executable)?;
    let files: Vec<OwnedFd> = files.iter().map(|file| high(*file)).collect::<Result<_, _>>()?;
    fork(|| {
        let place = || {
            rustix::process::setsid()?;
            super::signal::reset_all()?;
            for number in 0..FIRST_FILE {
                redirect(null.as_fd(), number)?;
            }
            for (file, number) in files.iter().zip(FIRST_FILE..) {
                redirect(file.as_fd(), number)?;
            }
            close_from_at_exec(first_free.unsigned_abs() - 1)?;
            // A directory that somebody may want to unmount or remove.
            rustix::process::chdir(c"/")?;
            exec_file(executable.as_fd(), args, env)
        };
        let Err(_) = place();
        // The other ends of its descriptors close; that is how the caller learns of it.
        exit_now(125)
    })?;
    Ok(())
}
