//! `barge secret`: small pieces of data that containers get and nobody else sees.

mod create;
mod listing;
mod rm;

pub(crate) use create::{Create, Exists};
pub(crate) use listing::{Inspect, Ls};
pub(crate) use rm::Rm;
