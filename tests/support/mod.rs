//! What the tests of the whole tool stand on: a store of their own, processes with deadlines,
//! fixtures, registries, and a look at what was left behind.

pub(crate) mod barge;
pub(crate) mod bundle;
mod database;
pub(crate) mod docker;
pub(crate) mod fixture;
pub(crate) mod http;
pub(crate) mod layout;
pub(crate) mod leaks;
pub(crate) mod machine;
pub(crate) mod needs;
pub(crate) mod output;
mod packages;
pub(crate) mod place;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod registry;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod terminal;
pub(crate) mod unstable;
mod web;

pub(crate) use barge::Barge;
pub(crate) use needs::{Need, is_root, leave_out, needs};
pub(crate) use output::Output;
pub(crate) use process::{Running, eventually, tool, wait_until};
