//! What users ask for, parsed. Pure: nothing here does I/O.
//!
//! Every grammar that a flag, a REST body or a compose file can contain is a type here with
//! `FromStr` (and `Display` where it is shown again). What is persisted also has `Serialize`.

pub mod account;
pub mod blkio;
pub mod build_cache;
pub mod build_output;
pub mod cdi;
pub mod change;
pub mod cidr;
pub mod closest;
pub mod compression;
pub mod container;
pub mod copy;
pub(crate) mod csv;
pub mod defaults;
pub mod digest;
pub mod dockerfile;
pub mod duration;
pub mod env;
pub mod filter;
pub mod group;
pub mod health;
pub mod health_log;
pub mod id;
pub mod ignore;
pub mod image;
pub mod keys;
pub mod limits;
pub mod location;
pub mod log;
pub mod manifest;
pub mod membership;
pub mod mount;
pub mod name;
pub mod namespace;
pub mod network;
pub mod network_spec;
pub mod notify;
pub mod oci;
pub mod packages;
pub mod place;
pub mod platform;
pub mod process;
pub mod reference;
pub mod registries;
pub mod secret;
pub mod security;
pub mod size;
pub mod storage;
pub mod sysctl;
pub mod systemd;
pub mod template;
pub mod time;
pub mod userns;
pub mod volume;
