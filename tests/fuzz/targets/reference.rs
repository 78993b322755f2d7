//! Any text as the name of an image: what is one reads the same when it is written out.
#![no_main]

mod arena;

use barge::spec::reference::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<Reference>() {
        let whole = name.to_string();
        assert_eq!(whole.parse::<Reference>().expect("it was a name"), name, "{whole}");
        let parts = whole.split(['/', ':', '@']);
        assert!(parts.into_iter().all(|part| !matches!(part, "" | "." | "..")), "{whole}");
    }
    arena::within(|store| {
        drop(store.images().find(text));
        drop(Reference::candidates(text));
        drop(Reference::local(text));
    });
});
