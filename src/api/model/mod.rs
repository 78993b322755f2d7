//! Docker's JSON documents, made from our records. `inspect` and `--format` show the same.

pub mod asked;
pub mod container;
pub mod docker;
pub mod event;
mod host_config;
pub mod image;
mod mounts;
pub mod network;
pub mod networks;
pub mod rest;
pub mod selection;
pub mod status;
pub mod top;
mod usual;
mod versions;
pub mod volume;
