//! The kernel made safe: the only module with `unsafe`. Returns `io::Error`.
//!
//! What `rustix` and `nix` offer safely is used from there; here is what they do not have, and what
//! needs an argument for its safety: making processes, mounts by descriptor, namespaces, terminals.

#![allow(unsafe_code)]

pub mod arch;
pub mod binfmt;
pub mod bpf;
pub mod btrfs;
pub mod check;
pub mod clone;
pub mod command;
pub mod copy;
pub mod dbus;
pub mod exe;
pub mod find;
pub mod mount;
pub mod mountns;
pub mod netlink;
pub mod netns;
pub mod packet;
pub mod process;
pub mod quota;
pub mod replacement;
pub mod root;
pub mod schedule;
pub mod sha256;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod threads;
pub mod userns;
pub mod watched;
pub mod xattrs;
