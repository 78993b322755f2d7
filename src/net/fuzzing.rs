//! What the fuzz targets of `tests/fuzz` need to reach: the readers of what comes over the network, and
//! from the kernel.

use netlink_packet_core::Parseable as _;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;

use super::{dhcp, dns, files, link};
use crate::sys::netlink;

/// Reads a query for names and answers it, and reads it as the answer of another server.
pub fn dns(message: &[u8]) {
    dns::read(message);
}

/// Reads a packet as the answer of a server of addresses.
pub fn dhcp(packet: &[u8]) {
    dhcp::read(packet);
}

/// Reads a `resolv.conf`.
pub fn resolver(text: &str) {
    files::servers_in(text);
}

/// Reads what the kernel answers about interfaces, addresses and routes.
pub fn netlink(datagram: &[u8]) {
    netlink::read(datagram, |payload| {
        link::link(payload);
        drop(LinkMessage::parse(payload));
        drop(AddressMessage::parse(payload));
        drop(RouteMessage::parse(payload));
    });
}
