//! `--init`: process 1 of a container that reaps orphans and passes signals on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::process::{WaitId, WaitIdOptions};

use super::channel::Channel;
use super::init;
use super::program::Program;
use crate::error::{Context, Result};
use crate::sys::clone::{exit_now, fork};
use crate::sys::process;
use crate::sys::signal::{self, Signals};

/// Signals that are not passed on: what concerns this process, or cannot be caught.
const OWN: [i32; 4] = [libc::SIGCHLD, libc::SIGKILL, libc::SIGSTOP, libc::SIGTTIN];

/// Starts the program as a child and stays as process 1 until it ends.
///
/// This process runs our own executable, which is protected from writing (see `sys::exe`), and
/// cannot be looked into.
pub(super) fn run(program: &Program<'_>, launcher: Channel) -> ! {
    match start(program) {
        Ok((incoming, child)) => {
            // End of file tells the launcher that all is well.
            drop(launcher);
            // They are the program's: who waits for their end must not wait for us.
            for file in program.files {
                let _closed = process::close_number(file.number);
            }
            stay(&incoming, child.as_fd())
        }
        Err(error) => init::fail(&launcher, &error),
    }
}

fn start(program: &Program<'_>) -> Result<(Signals, OwnedFd)> {
    let mut wanted: Vec<i32> = (1..=31).filter(|signal| !OWN.contains(signal)).collect();
    wanted.push(libc::SIGCHLD);
    let incoming = Signals::new(&wanted).context(|| "cannot catch signals")?;
    let (ours, theirs) = Channel::pair()?;
    let child = fork(|| {
        let Err(error) = become_foreground().and_then(|()| program.exec());
        init::fail(&theirs, &error)
    })
    .context(|| "cannot start the program")?;
    drop(theirs);
    // End of file: it runs.
    ours.receive()?;
    Ok((incoming, child.pidfd))
}

/// Gives the program a process group of its own and, if there is a terminal, its foreground.
fn become_foreground() -> Result<()> {
    rustix::process::setpgid(None, None).context(|| "cannot make a process group")?;
    let stdin = std::io::stdin();
    if rustix::termios::isatty(&stdin) {
        // The terminal stops background processes that touch it.
        signal::ignore(libc::SIGTTOU);
        rustix::termios::tcsetpgrp(&stdin, rustix::process::getpid())
            .context(|| "cannot take the terminal")?;
    }
    Ok(())
}

fn stay(incoming: &Signals, child: BorrowedFd<'_>) -> ! {
    // The monitor's words name paths of the host.
    let _cosmetic = process::set_command_line(b"/sbin/barge-init");
    let _cosmetic = process::set_name(c"barge-init");
    loop {
        let mut files = [rustix::event::PollFd::new(incoming, rustix::event::PollFlags::IN)];
        let _interrupted = rustix::event::poll(&mut files, None);
        while let Ok(Some(signal)) = incoming.next() {
            if signal != libc::SIGCHLD {
                let _already_gone = process::send_signal(child, signal);
            }
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if let Ok(Some(status)) = rustix::process::waitid(WaitId::PidFd(child), options) {
            exit_now(process::exit_code(&status));
        }
        while let Ok(Some(_)) = rustix::process::waitid(WaitId::All, options) {}
    }
}
