//! `barge network`: what containers are on together.

mod connect;
mod create;
mod listing;
mod prune;
mod rm;

pub(crate) use connect::{Connect, Disconnect, Reload, Update};
pub(crate) use create::{Create, Exists};
pub(crate) use listing::{Inspect, Ls};
pub(crate) use prune::Prune;
pub(crate) use rm::Rm;
