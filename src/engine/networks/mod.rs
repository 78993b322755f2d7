//! Networks: what users do with them, one verb a file, and how containers get on them.

mod connect;
mod create;
mod filter;
mod join;
mod list;
mod prune;
mod remove;
mod update;

pub use create::NewNetwork;
pub use filter::{check_filters, is_wanted};
pub use list::{NetworkUse, list, lookup};
pub use prune::PrunedNetworks;
