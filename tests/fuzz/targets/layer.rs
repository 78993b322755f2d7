//! Any bytes as a layer: nothing outside of it changes, and nothing is left of it.
#![no_main]

mod arena;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    arena::within(|store| drop(barge::image::fuzzing::layer(store, data)));
});
