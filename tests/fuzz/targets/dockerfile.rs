//! Any text as a Dockerfile: it is read or refused, and what is read can be expanded.
#![no_main]

use barge::spec::build_cache::BuildCache;
use barge::spec::build_output::BuildOutput;
use barge::spec::dockerfile::{Dockerfile, parse_trigger, word};
use barge::spec::ignore::Patterns;
use barge::spec::packages;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    drop(Dockerfile::parse("Dockerfile", text));
    drop(parse_trigger(text));
    let lookup = |name: &str| (name.len() % 2 == 0).then(|| name.to_owned());
    for escape in ['\\', '`'] {
        drop(word::expand(text, escape, &lookup));
        drop(word::expand_words(text, escape, &lookup));
    }
    drop(word::expand_document(text, &lookup));
    if let Ok(patterns) = Patterns::parse(".dockerignore", text) {
        patterns.excludes(text.as_bytes());
    }
    drop(text.parse::<BuildOutput>());
    drop(text.parse::<BuildCache>());
    drop(packages::of_dpkg(text));
    drop(packages::of_apk(text));
});
