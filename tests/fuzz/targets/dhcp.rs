//! Any bytes as an answer of a server of addresses.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    barge::net::fuzzing::dhcp(packet);
});
