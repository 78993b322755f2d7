//! The probe: a program of ours that runs in a container and tells what it sees there.

use std::path::PathBuf;

use super::{fixture, tool};

const SOURCE: &str = include_str!("../probe/probe.rs");

/// Returns the probe, one static executable.
pub(crate) fn probe() -> PathBuf {
    // Another source is another fixture.
    let sum = SOURCE
        .bytes()
        .fold(0_u64, |sum, byte| sum.wrapping_mul(1_099_511_628_211) ^ u64::from(byte));
    fixture::made(&format!("probe-{sum:016x}"), |new| {
        let scratch = tempfile::tempdir().expect("there is space");
        let source = scratch.path().join("probe.rs");
        std::fs::write(&source, SOURCE).expect("there is space");
        let (source, new) = (source.to_string_lossy(), new.to_string_lossy());
        let options = ["target-feature=+crt-static", "strip=symbols", "panic=abort"];
        let options = options.iter().flat_map(|option| ["-C", option]);
        let line = ["--edition", "2024", "-O", "-o", &new, &source];
        tool("rustc", options.chain(line));
    })
}
