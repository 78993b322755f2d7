//! The user's terminal, connected with that of a step.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::engine::outgoing::Outgoing;
use crate::engine::session;
use crate::error::{Context, Result};
use crate::sys::{socket, terminal};

/// Time between two looks at the size of the terminal, and at whether the step is to end.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Copies both ways until nobody uses the step's terminal any more, or `is_over`.
pub(super) fn relay(master: &OwnedFd, is_over: impl Fn() -> bool) -> Result<()> {
    let context = || "cannot use the terminal";
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let _raw = terminal::Raw::new(stdin).context(context)?;
    socket::set_nonblocking(master).context(context)?;
    let (mut typed, mut is_open, mut size) = (Outgoing::default(), true, None);
    let mut buffer = vec![0; 32 << 10];
    while !is_over() {
        let seen = terminal::size(stdin);
        if let Some((rows, columns)) = seen.filter(|_| seen != size) {
            // It may be gone, which is seen below.
            let _gone = terminal::set_size(master.as_fd(), rows, columns);
            size = seen;
        }
        let _gone = typed.flush(master);
        let is_full = !typed.is_empty();
        let wanted = if is_full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut files = vec![PollFd::new(master, wanted)];
        if is_open && !is_full {
            files.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        match poll(&mut files, Some(&PAUSE)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context(context),
        }
        let ready = |number: usize| {
            let file: Option<&PollFd<'_>> = files.get(number);
            file.is_some_and(|file| !(file.revents() & !PollFlags::OUT).is_empty())
        };
        let (says, types) = (ready(0), ready(1));
        drop(files);
        if says {
            match rustix::io::read(master, &mut buffer[..]) {
                Ok(length) if length > 0 => {
                    session::write_all(Some(stdout), &buffer[..length])?;
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                // Its last user has closed it.
                Ok(_) | Err(_) => return Ok(()),
            }
        }
        if types {
            match rustix::io::read(stdin, &mut buffer[..]) {
                Ok(length) if length > 0 => typed.buffer().extend_from_slice(&buffer[..length]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Ok(_) | Err(_) => is_open = false,
            }
        }
    }
    Ok(())
}
