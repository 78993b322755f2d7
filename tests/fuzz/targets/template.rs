//! Any text as a template of `--format`: it is refused or filled in, and ends.
#![no_main]

use barge::spec::template::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let document = serde_json::json!({
        "ID": "0123456789ab",
        "Names": ["web", "db"],
        "Size": 12,
        "Share": 0.5,
        "Up": true,
        "Labels": "a=b",
        "LabelMap": { "a": "b" },
        "State": { "Status": "running", "Health": null },
    });
    if let Ok(format) = Format::new(text) {
        drop(format.render(&document));
    }
});
