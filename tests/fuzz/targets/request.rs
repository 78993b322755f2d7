//! Any bytes as a request of the REST API: a line with method and target, one with a header field, a body.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default());
    let (line, field) = (text().into_owned(), text().into_owned());
    let (method, target) = line.split_once(' ').unwrap_or(("GET", &line));
    barge::api::fuzzing::request(method, target, &field, parts.next().unwrap_or_default());
});
