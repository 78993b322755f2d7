//! Any bytes as an answer of the kernel about interfaces, addresses and routes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    barge::net::fuzzing::netlink(datagram);
});
