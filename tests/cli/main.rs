//! The whole tool, used from the command line as its users use it.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod artifact;
mod attach;
mod beside;
mod bombs;
mod build;
mod build_cases;
mod build_flags;
mod build_output;
mod build_packages;
mod build_run;
mod build_users;
mod buildx;
mod builtin;
mod campaign;
mod cdi;
mod checkpoint;
mod cni;
mod container_mount;
mod content;
mod conventions;
mod cp;
mod crash;
mod debian;
mod debug;
mod defaults;
mod dhcp;
mod direct;
mod docker;
mod drivers;
mod dry_run;
mod events;
mod exec;
mod faults;
mod firewalld;
mod flags;
mod groups;
mod health;
mod hostile;
mod images;
mod info;
mod init;
mod journal;
mod lifecycle;
mod limits;
mod links;
mod listing;
mod log_drivers;
mod login;
mod logs;
mod machine;
mod manifest;
mod manifests;
mod mount;
mod mount_attacks;
mod mounts;
mod names;
mod namespaces;
mod network;
mod network_changes;
mod network_parts;
mod networks;
mod notify;
mod observe;
mod oci;
mod parallel;
mod passthrough;
mod pause;
mod plugin;
mod policy;
mod preserve;
mod prune;
mod ps;
mod pull;
mod push;
mod races;
mod reboot;
mod refusals;
mod remote;
mod resolver;
mod resources;
mod restart;
mod restore;
mod resume;
mod rootfs;
mod run;
mod runtime;
mod runtime_docker;
mod runtime_peers;
mod save;
mod scp;
mod search;
mod secret;
mod security;
mod service;
mod service_docker;
mod shared;
mod terminal;
mod together;
mod transport;
mod unshare;
mod update;
mod user_mode;
mod users;
mod volume;
mod volume_machine;
mod volume_memory;
mod volume_options;
mod volume_safety;
mod wait;

use std::fs;
use std::path::Path;

use support::{Need, needs};

/// A test file that is not listed above would never run.
#[test]
fn every_test_file_is_listed() {
    if !needs(&[Need::Sources]) {
        return;
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let main = fs::read_to_string(directory.join("main.rs")).unwrap();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            stem == "main" || main.contains(&format!("\nmod {stem};\n")),
            "{stem} is not listed in tests/cli/main.rs"
        );
    }
}

/// Makes what the unprivileged user needs, even if only some tests were asked for.
#[test]
fn fixtures_can_be_made() {
    if needs(&[Need::Debian]) {
        support::fixture::make_all();
    }
}
