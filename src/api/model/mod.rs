//! Docker's JSON documents, made from our records. `inspect` and `--format` show the same.

pub mod container;
mod host_config;
pub mod image;
pub mod network;
