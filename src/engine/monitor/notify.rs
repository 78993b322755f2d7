//! Telling a service manager which process to watch and when the container is ready, as sd_notify(3)
//! says.
//!
//! The manager's socket is named by the environment of who started the container, which is ours, too.
//! The container never gets that socket: the manager takes messages of its own service's processes
//! only. It gets one of ours, and what it says there is passed on by us. Which process the manager is
//! to watch is not for the container to say.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::Mode;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recv, sendto,
};

use crate::error::{Context, Result};
use crate::spec::notify::SdNotify;
use crate::store::container::ContainerConfig;
use crate::store::file;
use crate::sys::socket;

/// Where the manager's socket is.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The name of the container's socket in its run directory.
pub(super) const NAME: &str = "notify";

/// More than any message: the manager itself takes no longer ones.
const LONGEST: usize = 4096;

/// Messages that are passed on at once: a container that never ends telling keeps nobody waiting.
const AT_ONCE: usize = 64;

/// The way to the service manager, if it has asked to be told.
#[derive(Debug)]
pub(super) struct Notify {
    mode: SdNotify,
    manager: Option<Manager>,
    /// Where the container's program tells that it is ready.
    container: Option<OwnedFd>,
}

#[derive(Debug)]
struct Manager {
    socket: OwnedFd,
    address: SocketAddrUnix,
}

impl Notify {
    /// Finds the manager and makes a socket for the container, if it is to have one.
    pub(super) fn open(config: &ContainerConfig, run_dir: &Path) -> Result<Self> {
        let mode = config.settings.sdnotify;
        let asked = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        let Some(name) = asked.filter(|_| mode != SdNotify::Ignore) else {
            return Ok(Self { mode, manager: None, container: None });
        };
        let shown = name.to_string_lossy().into_owned();
        let context = || format!("cannot reach the service manager at {VARIABLE}={shown}");
        let manager = Manager {
            socket: datagrams().context(context)?,
            address: address(&name).context(context)?,
        };
        let container = match mode {
            SdNotify::Container => Some(listen(run_dir)?),
            SdNotify::Conmon | SdNotify::Healthy | SdNotify::Ignore => None,
        };
        Ok(Self { mode, manager: Some(manager), container })
    }

    /// The container's socket, to wait for; `None` if it has none.
    pub(super) fn file(&self) -> Option<&OwnedFd> {
        self.container.as_ref()
    }

    /// Tells that the container runs. Returns what went wrong.
    pub(super) fn has_started(&self) -> Option<String> {
        let pid = std::process::id();
        let ready = if self.mode == SdNotify::Conmon { "\nREADY=1" } else { "" };
        self.tell(format!("MAINPID={pid}{ready}").as_bytes())
    }

    /// Tells that the container is healthy.
    pub(super) fn is_healthy(&self) {
        if self.mode == SdNotify::Healthy {
            // The manager gives up waiting, and says so.
            drop(self.tell(b"READY=1"));
        }
    }

    /// Passes on what the container says.
    pub(super) fn pass_on(&self) {
        let Some(container) = &self.container else { return };
        let mut buffer = [0; LONGEST];
        // Descriptors that come along are closed by the kernel: nobody asks for them here.
        for _ in 0..AT_ONCE {
            let Ok((length, whole)) = recv(container, &mut buffer[..], RecvFlags::TRUNC) else {
                return;
            };
            if let Some(message) = buffer.get(..length.min(whole)).filter(|_| whole <= LONGEST) {
                // The manager gives up waiting, and says so.
                drop(self.tell(&allowed(message)));
            }
        }
    }

    fn tell(&self, message: &[u8]) -> Option<String> {
        let manager = self.manager.as_ref().filter(|_| !message.is_empty())?;
        let sent = sendto(&manager.socket, message, SendFlags::NOSIGNAL, &manager.address);
        sent.err().map(|error| format!("cannot tell the service manager how it is: {error}"))
    }
}

/// What a container may say of itself: not which process the manager is to watch, nor what it is to
/// keep for it.
fn allowed(message: &[u8]) -> Vec<u8> {
    const DENIED: [&str; 4] = ["MAINPID", "MAINPIDFDID", "FDSTORE", "BARRIER"];
    let is_allowed = |line: &&[u8]| {
        let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        !line.is_empty() && !DENIED.iter().any(|denied| name.starts_with(denied.as_bytes()))
    };
    message.split(|byte| *byte == b'\n').filter(is_allowed).collect::<Vec<_>>().join(&b'\n')
}

fn address(name: &OsString) -> io::Result<SocketAddrUnix> {
    Ok(match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(name)?,
    })
}

fn datagrams() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?)
}

/// Makes the socket for the container.
fn listen(run_dir: &Path) -> Result<OwnedFd> {
    let path = run_dir.join(NAME);
    let context = || format!("cannot listen at {}", path.display());
    file::remove_file(&path)?;
    let socket = datagrams().context(context)?;
    let (address, _dir) = socket::address(&run_dir.join(NAME)).context(context)?;
    rustix::net::bind(&socket, &address).context(context)?;
    // Whoever the program is: nobody else finds a way to it.
    rustix::fs::chmod(&path, Mode::from_raw_mode(0o666)).context(context)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_speaks_for_itself_only() {
        for (message, want) in [
            ("READY=1", "READY=1"),
            ("READY=1\nSTATUS=up=1\n", "READY=1\nSTATUS=up=1"),
            ("MAINPID=1\nREADY=1", "READY=1"),
            ("FDSTORE=1\nFDNAME=x", "FDNAME=x"),
            ("BARRIER=1", ""),
            ("", ""),
        ] {
            assert_eq!(allowed(message.as_bytes()), want.as_bytes(), "{message}");
        }
    }
}
