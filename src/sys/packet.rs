//! IPv4 packets of one interface as they are, without an address: for those who ask for one.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::netns;

/// Says that a frame has IPv4 in it.
const IPV4: u16 = libc::ETH_P_IP as u16;
/// All who are on the network.
const EVERYBODY: [u8; 6] = [0xff; 6];

/// A socket that sends to everybody on the network of an interface, and hears all IPv4 that arrives there.
/// It never blocks.
#[derive(Debug)]
pub struct Packets {
    socket: OwnedFd,
    interface: i32,
}

impl Packets {
    /// Opens the interface of this index in a network namespace.
    pub fn open_in(netns: BorrowedFd<'_>, interface: u32) -> io::Result<Self> {
        let interface = i32::try_from(interface).map_err(io::Error::other)?;
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
        // Nothing is heard before it is bound: with a protocol, it would hear other interfaces.
        let socket = netns::socket_in(netns, libc::AF_PACKET, kind, 0)?;
        let packets = Self { socket, interface };
        let address = packets.address();
        // SAFETY: the address is of the type and the size that the family has, and outlives the call.
        let bound =
            unsafe { libc::bind(packets.socket.as_raw_fd(), (&raw const address).cast(), LENGTH) };
        if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(packets) }
    }

    /// Sends a packet, which begins with its IPv4 header, to everybody.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let address = self.address();
        // SAFETY: packet and address outlive the call, and their sizes are what is said.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                libc::MSG_NOSIGNAL,
                (&raw const address).cast(),
                LENGTH,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes the next packet that has arrived, if one has; what does not fit of it is lost.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::net::recv(&self.socket, buffer, rustix::net::RecvFlags::empty()) {
            Ok((length, _)) => Ok(Some(length)),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn address(&self) -> libc::sockaddr_ll {
        // SAFETY: it is made of numbers, of which zero is one.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = IPV4.to_be();
        address.sll_ifindex = self.interface;
        address.sll_halen = EVERYBODY.len() as u8;
        address.sll_addr[..EVERYBODY.len()].copy_from_slice(&EVERYBODY);
        address
    }
}

/// The size of an address.
const LENGTH: u32 = size_of::<libc::sockaddr_ll>() as u32;

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
