//! Datagrams to a published port, and the answers to who sent them.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags};

/// How long one that is silent is remembered, as Docker has it.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many answers are passed on in one turn.
const ANSWERS: usize = 64;

/// What one client and the container have to say to each other.
#[derive(Debug)]
pub(super) struct Talk {
    door: usize,
    client: SocketAddr,
    server: OwnedFd,
    until: Instant,
}

impl Talk {
    /// Begins one, with a socket that is connected to the container.
    pub(super) fn new(door: usize, client: SocketAddr, server: OwnedFd) -> Self {
        Self { door, client, server, until: Instant::now() + PATIENCE }
    }

    /// Returns the number of the door.
    pub(super) fn door(&self) -> usize {
        self.door
    }

    /// Returns when it has been silent for long enough.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Passes a datagram on to the container.
    pub(super) fn send(&mut self, data: &[u8]) {
        self.until = Instant::now() + PATIENCE;
        // Lost, as datagrams may be.
        let _lost = rustix::net::send(&self.server, data, SendFlags::empty());
    }

    /// Passes answers back.
    pub(super) fn answer(&mut self, door: &OwnedFd, buffer: &mut [u8]) {
        self.until = Instant::now() + PATIENCE;
        for _ in 0..ANSWERS {
            match rustix::net::recv(&self.server, &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let flags = SendFlags::DONTWAIT;
                    let _lost = rustix::net::sendto(door, &buffer[..length], flags, &self.client);
                }
                // Nobody listens in the container: that was about an earlier one.
                Err(rustix::io::Errno::CONNREFUSED) => {}
                Err(_) => return,
            }
        }
    }
}

/// Takes one datagram, and who sent it; `None` if there is none.
pub(super) fn receive_from(door: &OwnedFd, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    let (length, _, client) = rustix::net::recvfrom(door, buffer, RecvFlags::DONTWAIT).ok()?;
    Some((length, SocketAddr::try_from(client?).ok()?))
}
