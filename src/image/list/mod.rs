//! Manifest lists: what their members are, here or in a registry, and their way to a registry.

mod local;
mod remote;

pub use local::{Described, local, restore};
pub use remote::{Fetched, Wanted, choose, fetch, members, parse};
