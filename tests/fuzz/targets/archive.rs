//! Any bytes as an archive with images.
#![no_main]

mod arena;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    arena::within(|store| drop(barge::image::fuzzing::archive(store, data)));
});
