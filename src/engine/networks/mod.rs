//! Networks: what users do with them, one verb a file, and how containers get on them.

mod create;
mod join;
mod list;
mod prune;
mod remove;

pub use create::NewNetwork;
pub use list::{NetworkUse, list, lookup};
pub use prune::PrunedNetworks;
