//! Any text as a configuration file, and as the values of flags: it is read or refused.
#![no_main]

use barge::spec::cdi::CdiFile;
use barge::spec::defaults::Defaults;
use barge::spec::env;
use barge::spec::filter::Filter;
use barge::spec::membership::Membership;
use barge::spec::mount::Mount;
use barge::spec::network::{NetworkMode, PortMapping, parse_exposed, parse_host};
use barge::spec::registries::Registries;
use barge::spec::secret::SecretUse;
use barge::spec::userns::UsernsMode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    drop(Registries::parse(text, "registries.conf"));
    drop(Defaults::parse(text, "containers.conf"));
    for name in ["vendor.json", "vendor.yaml"] {
        drop(CdiFile::parse(text, name));
    }
    barge::net::fuzzing::resolver(text);
    drop(env::parse_file(text, &[]));
    drop(Mount::parse_volume(text));
    drop(Mount::parse_mount(text));
    drop(Mount::parse_tmpfs(text));
    drop(text.parse::<Filter>());
    drop(text.parse::<Membership>());
    drop(text.parse::<NetworkMode>());
    drop(text.parse::<PortMapping>());
    drop(text.parse::<SecretUse>());
    drop(text.parse::<UsernsMode>());
    drop(parse_exposed(text));
    drop(parse_host(text));
});
