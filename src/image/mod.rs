//! Images: how they come here and what they are made of. Knows neither containers nor networks.
//!
//! A way in is a source of layers (a registry, an archive, a tarball): each layer is taken in by
//! `ingest`, several at a time by `parallel`, and `record` writes down the image when all are here.

pub mod archive;
mod compression;
pub mod import;
mod ingest;
mod manifest;
mod parallel;
mod pax;
pub mod progress;
mod record;
mod tarball;
mod unpack;
