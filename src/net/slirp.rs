//! The user-mode network stack slirp4netns: networks for those who are not root and have no pasta.
//!
//! It has addresses of its own, and cannot publish ports: what arrives is passed on by the monitor
//! ([`super::relay`]). Otherwise it is started and ended as pasta is.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::pasta::{self, Helper, launch};
use crate::error::Result;

/// Where the container finds a name server: queries are handed on to the host's.
pub(super) const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 3));
/// The container's interface.
const INTERFACE: &str = "tap0";

/// Returns where it is installed, if it is needed: there is no pasta.
pub(super) fn find_if_needed() -> Option<PathBuf> {
    if pasta::find().is_some() {
        return None;
    }
    pasta::find_program("slirp4netns")
}

/// Starts it and waits until the namespace is connected.
pub(super) fn start(program: &Path, netns: BorrowedFd<'_>) -> Result<Helper> {
    let mut command = Command::new(program);
    command.args([
        "--configure",
        // It ends connections itself: nothing is gained by small packets.
        "--mtu=65520",
        // Services that listen on the host's loopback only are none of the container's business.
        "--disable-host-loopback",
        "--ready-fd=1",
        "--netns-type=path",
        "/proc/self/fd/0",
        INTERFACE,
    ]);
    launch(command, netns)
}
