//! Volumes: what users do with them, one verb a file, and how containers get theirs.

mod archive;
mod artifacts;
mod attach;
mod create;
mod filter;
mod from;
mod images;
mod list;
mod machine;
mod memory;
mod owners;
mod plugin;
mod prune;
mod reload;
mod remove;

pub use filter::{check_filters, is_wanted};
pub use list::{VolumeUse, list, lookup, size};
pub(in crate::engine) use machine::MachineMounts;
pub(in crate::engine) use memory::Memory;
pub use plugin::{FoundPlugin, place_for, plugins};
pub use prune::PrunedVolumes;
pub use reload::Reloaded;
