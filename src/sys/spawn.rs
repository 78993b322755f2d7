//! Starting ourselves anew as a process that outlives us.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::clone::{Child, exit_now, vfork};
use super::process::{Words, close_from_at_exec, exec_file, redirect};

/// The number of the first descriptor that a detached process is given.
pub const FIRST_FILE: i32 = 3;

/// Starts the program in `executable` in a session of its own, with nothing of ours but `files`.
///
/// Its standard descriptors are /dev/null: nothing keeps the caller's pipes and terminals open.
/// `files` get the numbers from [`FIRST_FILE`] on. The environment is ours.
pub fn detached(
    executable: BorrowedFd<'_>,
    args: &Words,
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    start(executable, args, files, None).map(drop)
}

/// As [`detached`], with what it writes going to `output`; the caller waits for it.
pub fn heard(
    executable: BorrowedFd<'_>,
    args: &Words,
    files: &[BorrowedFd<'_>],
    output: BorrowedFd<'_>,
) -> io::Result<Child> {
    start(executable, args, files, Some(output))
}

fn start(
    executable: BorrowedFd<'_>,
    args: &Words,
    files: &[BorrowedFd<'_>],
    output: Option<BorrowedFd<'_>>,
) -> io::Result<Child> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let env = environment()?;
    let moved = Moved::new(executable, files)?;
    let first_free = FIRST_FILE + i32::try_from(files.len()).map_err(io::Error::other)?;
    // Below the numbers that are about to be replaced it would be lost before its turn.
    let output =
        output.map(|file| rustix::io::fcntl_dupfd_cloexec(file, first_free)).transpose()?;
    vfork(|| {
        let place = || {
            rustix::process::setsid()?;
            super::signal::reset_all()?;
            redirect(null.as_fd(), 0)?;
            for number in 1..FIRST_FILE {
                redirect(output.as_ref().unwrap_or(&null).as_fd(), number)?;
            }
            // A directory that somebody may want to unmount or remove.
            rustix::process::chdir(c"/")?;
            moved.exec(args, &env)
        };
        let Err(_) = place();
        // The other ends of its descriptors close; that is how the caller learns of it.
        exit_now(125)
    })
}

/// Replaces this process by the program in `executable`; `files` get the numbers from
/// [`FIRST_FILE`] on. Returns only on failure.
pub fn become_program(
    executable: BorrowedFd<'_>,
    args: &Words,
    files: &[BorrowedFd<'_>],
) -> io::Result<Infallible> {
    Moved::new(executable, files)?.exec(args, &environment()?)
}

/// Replaces this process by the program in `executable`, with all that it has open for its children.
/// Returns only on failure.
pub fn become_with_all(executable: BorrowedFd<'_>, args: &Words) -> io::Result<Infallible> {
    exec_file(executable, args, &environment()?)
}

/// Our own environment in the form that exec takes.
fn environment() -> io::Result<Words> {
    Words::new(std::env::vars_os().map(|(name, value)| {
        let mut entry = name.into_encoded_bytes();
        entry.push(b'=');
        entry.extend(value.into_encoded_bytes());
        entry
    }))
}

/// Descriptors above all numbers that are about to be replaced.
struct Moved {
    executable: OwnedFd,
    files: Vec<OwnedFd>,
}

impl Moved {
    fn new(executable: BorrowedFd<'_>, files: &[BorrowedFd<'_>]) -> io::Result<Self> {
        let first_free = FIRST_FILE + i32::try_from(files.len()).map_err(io::Error::other)?;
        let high = |file: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(file, first_free);
        Ok(Self {
            executable: high(executable)?,
            files: files.iter().map(|file| high(*file)).collect::<Result<_, _>>()?,
        })
    }

    fn exec(&self, args: &Words, env: &Words) -> io::Result<Infallible> {
        let mut number = FIRST_FILE;
        for file in &self.files {
            redirect(file.as_fd(), number)?;
            number += 1;
        }
        close_from_at_exec(number.unsigned_abs())?;
        exec_file(self.executable.as_fd(), args, env)
    }
}
