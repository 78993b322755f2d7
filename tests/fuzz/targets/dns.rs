//! Any bytes as a query for names: it is answered, refused or passed over.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    barge::net::fuzzing::dns(message);
});
