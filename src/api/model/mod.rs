//! Docker's JSON documents, made from our records. `inspect` and `--format` show the same.

pub mod container;
pub mod event;
mod host_config;
pub mod image;
pub mod network;
pub mod networks;
mod usual;
pub mod volume;
