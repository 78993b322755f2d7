//! Images: how they come here and what they are made of. Knows neither containers nor networks.
//!
//! A way in is a source of layers (a registry, an archive, a tarball): each layer is taken in by
//! `ingest`, several at a time by `parallel`, and `record` writes down the image when all are here.
//! `policy` says whose signatures it needs for that. A way out begins with `outgoing`, the form that the
//! image is to have there; `stream` makes the layers' archives again, and `push` and `save` send them.

pub(crate) mod after_crash;
mod ahead;
pub mod archive;
pub mod artifact;
mod bomb;
pub mod builtin;
pub mod changes;
pub mod commit;
pub(crate) mod compression;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hashing;
mod header;
pub mod import;
mod ingest;
pub mod list;
mod manifest;
pub mod merged;
pub mod outgoing;
mod pack;
mod parallel;
mod pax;
pub mod policy;
pub mod progress;
pub mod pull;
pub mod push;
pub(crate) mod recipe;
pub(crate) mod record;
pub mod registry;
pub mod save;
mod sparse;
mod stream;
pub(crate) mod tarball;
mod transfer;
pub mod tree;
pub mod unpack;
pub mod upper;
pub(crate) mod whole;
