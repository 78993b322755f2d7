//! Who is asked for what is not known here: name servers that were named, or this machine's.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::net::files::{RESOLV_CONF, servers_in};
use crate::sys::netns;

/// The port of name servers.
const PORT: u16 = 53;

/// Name servers.
#[derive(Debug)]
pub(super) enum Upstream {
    /// Those that somebody has named, asked from within the container's namespace, where they may be.
    Named {
        /// Their addresses.
        servers: Vec<IpAddr>,
    },
    /// This machine's own, asked from where it asks them: they may be in reach of nobody else.
    Host {
        /// Their addresses.
        servers: Vec<IpAddr>,
        /// Which file they were read from: its device, number and time of change.
        seen: Option<(u64, u64, i64, i64)>,
    },
    /// Nobody: the container is on networks without a way out.
    Nobody,
}

impl Upstream {
    /// Returns the name servers as they are now: the file that lists them may have changed.
    pub(super) fn servers(&mut self) -> &[IpAddr] {
        match self {
            Self::Named { servers } => servers,
            Self::Nobody => &[],
            Self::Host { servers, seen } => {
                let found = fs::metadata(RESOLV_CONF).ok();
                let now = found.map(|it| (it.dev(), it.ino(), it.mtime(), it.mtime_nsec()));
                if servers.is_empty() || now != *seen {
                    let text = fs::read(RESOLV_CONF).unwrap_or_default();
                    *servers = servers_in(&String::from_utf8_lossy(&text));
                    if servers.is_empty() {
                        // What the C library does.
                        servers.push(Ipv4Addr::LOCALHOST.into());
                    }
                    *seen = now;
                }
                servers
            }
        }
    }

    /// Makes a socket that is being connected to a name server, and never blocks. `netns` is the
    /// container's.
    pub(super) fn connect(
        &self,
        server: IpAddr,
        kind: SocketType,
        netns: BorrowedFd<'_>,
    ) -> io::Result<OwnedFd> {
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = match self {
            Self::Named { .. } => {
                let kind = kind.as_raw().cast_signed() | libc::SOCK_NONBLOCK;
                netns::socket_in(netns, i32::from(family.as_raw()), kind, 0)?
            }
            Self::Host { .. } | Self::Nobody => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                rustix::net::socket_with(family, kind, flags, None)?
            }
        };
        match rustix::net::connect(&socket, &SocketAddr::new(server, PORT)) {
            Err(error) if error != rustix::io::Errno::INPROGRESS => Err(error.into()),
            _ => Ok(socket),
        }
    }
}
