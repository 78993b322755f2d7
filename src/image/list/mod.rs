//! Manifest lists: what their members are, here or in a registry, and their way to a registry.

mod convert;
mod local;
mod push;
mod remote;

pub use convert::Words;
pub(super) use local::image;
pub use local::{Described, local, restore};
pub use push::{ListPushOptions, push};
pub use remote::{Fetched, Wanted, choose, fetch, members, parse};
