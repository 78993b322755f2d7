//! Terminals: raw mode that is always undone, sizes, pseudo-terminals.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, Termios, Winsize};

/// A terminal in raw mode; as it was again when this is dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Puts a terminal into raw mode.
    pub fn new(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let terminal = terminal.try_clone_to_owned()?;
        let before = rustix::termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _gone = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Returns rows and columns of a terminal; `None` if it is none.
pub fn size(terminal: BorrowedFd<'_>) -> Option<(u16, u16)> {
    rustix::termios::tcgetwinsize(terminal).ok().map(|size| (size.ws_row, size.ws_col))
}

/// Sets rows and columns of a terminal.
pub fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// Makes a pseudo-terminal of the devpts instance that `ptmx` belongs to: master and slave.
pub fn pair(ptmx: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    rustix::pty::unlockpt(ptmx)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    // The slave by its master: no path of the container is looked up.
    Ok(rustix::pty::ioctl_tiocgptpeer(
        ptmx,
        rustix::pty::OpenptFlags::from_bits_retain(flags.bits()),
    )?)
}

/// Opens a devpts instance's ptmx below a directory.
pub fn open_ptmx(dir: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, path, flags, Mode::empty())?)
}

/// Makes a terminal the controlling terminal of this session.
pub fn make_controlling(terminal: impl AsFd) -> io::Result<()> {
    // SAFETY: this request takes a plain number.
    match unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
