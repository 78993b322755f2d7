//! `barge volume`: directories that outlive containers.

mod archive;
mod create;
mod listing;
mod mount;
mod prune;
mod reload;
mod rm;

pub(crate) use archive::{Export, Import};
pub(crate) use create::{Create, Exists};
pub(crate) use listing::{Inspect, Ls};
pub(crate) use mount::{Mount, Unmount};
pub(crate) use prune::Prune;
pub(crate) use reload::Reload;
pub(crate) use rm::Rm;
