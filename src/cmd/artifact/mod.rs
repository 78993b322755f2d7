//! `barge artifact`: files in registries.

mod files;
mod listing;
mod registry;
mod rm;

pub(crate) use files::{Add, Extract};
pub(crate) use listing::{Inspect, Ls};
pub(crate) use registry::{Pull, Push};
pub(crate) use rm::Rm;
