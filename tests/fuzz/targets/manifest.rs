//! Any bytes as a manifest or an index.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    drop(barge::image::fuzzing::manifest(data));
});
