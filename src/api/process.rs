//! Processes that the service has started, and their streams.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::pty::OpenptFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::terminal as pty;
use crate::sys::watched::watched;

/// Bytes that are read at once.
const PART: usize = 32 << 10;

/// A process that somebody waits for.
#[derive(Debug)]
pub(super) struct Running {
    pidfd: OwnedFd,
    code: watch::Receiver<Option<i32>>,
}

impl Running {
    /// Has somebody wait for its end.
    pub(super) fn watch(mut child: Child) -> Result<Self> {
        let context = || "cannot watch a process";
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid =
            pid.ok_or(io::ErrorKind::InvalidData).map_err(io::Error::from).context(context)?;
        let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).context(context)?;
        let waited = watched(pidfd.try_clone().context(context)?).context(context)?;
        let (teller, code) = watch::channel(None);
        tokio::spawn(async move {
            // It has ended when this is readable, so that nobody waits below.
            drop(waited.readable().await);
            use std::os::unix::process::ExitStatusExt;
            let code = child.wait().ok().map_or(125, |status| {
                status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
            });
            // Nobody may want to know.
            let _nobody_asks = teller.send(Some(code));
        });
        Ok(Self { pidfd, code })
    }

    /// Waits for its end; returns its exit code.
    pub(super) async fn ended(&self) -> Result<i32> {
        let mut code = self.code.clone();
        let found = code.wait_for(Option::is_some).await.ok().and_then(|code| *code);
        found.ok_or_else(|| Error::new(Kind::Internal, "nobody knows how the process has ended"))
    }

    /// Sends it a signal, if it has not ended.
    pub(super) fn signal(&self, signal: Signal) {
        let _gone = pidfd_send_signal(&self.pidfd, signal);
    }
}

/// A terminal of ours that a process has the other end of.
#[derive(Debug)]
pub(super) struct Terminal {
    master: AsyncFd<OwnedFd>,
    user: Mutex<Option<OwnedFd>>,
}

/// Makes a terminal in raw mode: what is to be made of input is decided by another one, in the container.
/// Returns the end of the process, too.
pub(super) fn terminal(size: Option<[u16; 2]>) -> Result<(Arc<Terminal>, OwnedFd)> {
    let context = || "cannot make a terminal";
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).context(context)?;
    let slave = pty::pair(std::os::fd::AsFd::as_fd(&master)).context(context)?;
    let mut mode = rustix::termios::tcgetattr(&slave).context(context)?;
    mode.make_raw();
    let now = rustix::termios::OptionalActions::Now;
    rustix::termios::tcsetattr(&slave, now, &mode).context(context)?;
    if let Some([rows, columns]) = size {
        pty::set_size(std::os::fd::AsFd::as_fd(&master), rows, columns).context(context)?;
    }
    rustix::io::ioctl_fionbio(&master, true).context(context)?;
    let master = watched(master).context(context)?;
    Ok((Arc::new(Terminal { master, user: Mutex::new(None) }), slave))
}

impl Terminal {
    /// Says who is to be told of another size.
    pub(super) fn belongs_to(&self, running: &Running) -> Result<()> {
        let copy = running.pidfd.try_clone().context(|| "cannot watch a process")?;
        *self.user.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
        Ok(())
    }

    /// Sets its rows and columns.
    pub(super) fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let master = std::os::fd::AsFd::as_fd(self.master.get_ref());
        pty::set_size(master, rows, columns).context(|| "cannot resize the terminal")?;
        if let Some(user) = &*self.user.lock().unwrap_or_else(PoisonError::into_inner) {
            // It is not in the foreground of this terminal, so the kernel does not tell it.
            let _gone = pidfd_send_signal(user, Signal::WINCH);
        }
        Ok(())
    }

    async fn read(&self) -> Option<Bytes> {
        loop {
            let mut ready = self.master.readable().await.ok()?;
            let mut buffer = vec![0; PART];
            let read = ready.try_io(|it| Ok(rustix::io::read(it.get_ref(), &mut buffer[..])?));
            match read {
                Ok(Ok(length)) if length > 0 => {
                    buffer.truncate(length);
                    return Some(buffer.into());
                }
                // Its last user has closed it.
                Ok(Ok(_)) => return None,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) => return None,
                Err(_) => {}
            }
        }
    }

    fn read_now(&self) -> Option<Bytes> {
        let mut buffer = vec![0; PART];
        let length = rustix::io::read(self.master.get_ref(), &mut buffer[..]).ok()?;
        buffer.truncate(length);
        (length > 0).then(|| buffer.into())
    }

    async fn write(&self, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let Ok(mut ready) = self.master.writable().await else { return false };
            match ready.try_io(|it| Ok(rustix::io::write(it.get_ref(), data)?)) {
                Ok(Ok(length)) => data = &data[length..],
                Ok(Err(_)) => return false,
                Err(_) => {}
            }
        }
        true
    }
}

/// What a process writes.
#[derive(Debug)]
pub(super) enum Source {
    Pipe(pipe::Receiver),
    Terminal(Arc<Terminal>),
    None,
}

impl Source {
    /// Our end of a pipe.
    pub(super) fn pipe(file: OwnedFd) -> Result<Self> {
        let made = pipe::Receiver::from_owned_fd(file);
        made.map(Self::Pipe).context(|| "cannot listen to a process")
    }

    /// Returns what it writes next; waits for good if that is nothing more.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let read = match self {
            Self::Pipe(pipe) => {
                let mut buffer = BytesMut::with_capacity(PART);
                match pipe.read_buf(&mut buffer).await {
                    Ok(length) if length > 0 => Some(buffer.freeze()),
                    Ok(_) | Err(_) => None,
                }
            }
            Self::Terminal(terminal) => terminal.read().await,
            Self::None => None,
        };
        if read.is_none() {
            *self = Self::None;
            std::future::pending::<()>().await;
        }
        read
    }

    /// Returns more of what it has written already; `None` if there is no more right now.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        match self {
            Self::Pipe(pipe) => {
                let mut buffer = vec![0; PART];
                let length = pipe.try_read(&mut buffer).ok()?;
                buffer.truncate(length);
                (length > 0).then(|| buffer.into())
            }
            Self::Terminal(terminal) => terminal.read_now(),
            Self::None => None,
        }
    }
}

/// Where a process reads.
#[derive(Debug)]
pub(super) enum Sink {
    Pipe(pipe::Sender),
    Terminal(Arc<Terminal>),
}

impl Sink {
    /// Our end of a pipe.
    pub(super) fn pipe(file: OwnedFd) -> Result<Self> {
        let made = pipe::Sender::from_owned_fd(file);
        made.map(Self::Pipe).context(|| "cannot talk to a process")
    }

    /// Gives it something to read; `false` if it reads no more.
    pub(super) async fn take(&mut self, data: &[u8]) -> bool {
        match self {
            Self::Pipe(pipe) => pipe.write_all(data).await.is_ok(),
            Self::Terminal(terminal) => terminal.write(data).await,
        }
    }

    /// Says that there is no more.
    pub(super) async fn end(self) {
        if let Self::Terminal(terminal) = self {
            // What a terminal sends at the end of input.
            terminal.write(&[4]).await;
        }
    }
}
