//! Volumes: what users do with them, one verb a file, and how containers get theirs.

mod attach;
mod create;
mod list;
mod prune;
mod remove;

pub use list::{VolumeUse, list, lookup, size};
pub use prune::PrunedVolumes;
