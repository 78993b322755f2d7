//! The process that has a launcher for each step: our own executable, started anew once for a build.
//!
//! It has one thread, so it can fork: that takes a fraction of the time that starting an executable takes.
//! Over the socket that is its standard input it gets one end of another for each step. When the build
//! closes it, it waits until all launchers have cleared away, and ends.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::child;
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::sys::clone::{exit_now, fork};
use crate::sys::process::{self, inherited};
use crate::sys::socket;

/// What the program's name is when it is started for steps.
const NAME: &str = "barge: step";

/// The byte that comes with a launcher's socket.
const SOCKET: &[u8; 1] = b"s";

/// The process, as the build sees it.
#[derive(Debug)]
pub(super) struct Starter {
    /// Closed to end it.
    socket: Option<UnixStream>,
    process: Child,
}

impl Starter {
    /// Starts it.
    pub(super) fn start(engine: &Engine, executable: &OwnedFd) -> Result<Self> {
        let (ours, theirs) = UnixStream::pair().context(|| "cannot make a socket pair")?;
        let words = engine.own_words(NAME).into_iter().skip(1).map(OsString::from_vec);
        let process = Command::new(format!("/proc/self/fd/{}", executable.as_raw_fd()))
            .arg0(NAME)
            .args(words)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What a terminal sends its foreground is for the build to pass on.
            .process_group(0)
            .spawn()
            .context(|| "cannot start a process for steps")?;
        Ok(Self { socket: Some(ours), process })
    }

    /// Has it start a launcher.
    pub(super) fn launcher(&self, its: UnixStream) -> Result<()> {
        let Some(own) = &self.socket else { return Ok(()) };
        socket::send(own.as_fd(), SOCKET, Some(its.as_fd())).context(|| "cannot start a step")
    }
}

impl Drop for Starter {
    /// Waits until all is cleared away.
    fn drop(&mut self) {
        self.socket = None;
        // It is our child, and no signal but one that ends us interrupts this.
        drop(self.process.wait());
    }
}

/// Tells whether these words start it.
pub fn is_asked_for(name: &OsStr) -> bool {
    name == NAME
}

/// Starts launchers as long as the build wants some. Returns the exit status.
pub fn main(arguments: Vec<OsString>) -> u8 {
    let served = inherited(0)
        .context(|| "this name is for processes that barge starts itself")
        .and_then(|socket| serve(&arguments, &socket));
    if served.is_ok() { 0 } else { 125 }
}

fn serve(arguments: &[OsString], build: &OwnedFd) -> Result<()> {
    let engine = Engine::from_own_words(arguments)?;
    let context = || "cannot start a step";
    loop {
        let mut byte = [0];
        let (length, socket) = socket::receive(build.as_fd(), &mut byte).context(context)?;
        if length == 0 {
            break;
        }
        let Some(socket) = socket.map(UnixStream::from) else { continue };
        // If there can be no child, the socket is closed, which the build sees.
        drop(fork(|| {
            // Without this one who asks for a step could not tell that nobody is left to start it.
            let closed = process::close_number(build.as_raw_fd());
            let done = closed.context(context).and_then(|()| child::main(&engine, socket));
            exit_now(if done.is_ok() { 0 } else { 125 })
        }));
        process::reap_ended();
    }
    process::wait_for_all();
    Ok(())
}
