//! What a long operation tells on its way. Who listens decides how to show it.

use crate::spec::digest::{DiffId, Digest};
use crate::spec::reference::Reference;

/// Listens to the progress of an operation, from any of its threads.
pub trait Progress: Sync {
    /// Takes note of an event. Returns at once: the operation waits for it.
    fn update(&self, event: ProgressEvent<'_>);
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum ProgressEvent<'a> {
    /// A short name was completed; a sentence tells by what.
    Resolved(&'a str),
    /// A registry is about to be asked for an image.
    Trying(&'a Reference),
    /// The image's manifest is here: it has this many layers.
    Layers(usize),
    /// A layer is here already.
    Present(&'a DiffId),
    /// A blob is at its destination already.
    Skipped(&'a Digest),
    /// Somebody else is downloading this layer.
    Waiting(&'a Digest),
    /// Bytes of a layer arrived: so many so far, of so many in all if that is known.
    Layer {
        /// The compressed layer.
        digest: &'a Digest,
        /// Bytes that arrived so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A layer arrived, was verified and unpacked.
    LayerDone(&'a Digest),
    /// The image's configuration was fetched.
    Config(&'a Digest),
    /// The image is about to be recorded.
    Recording,
    /// Something is not as it should be, and the operation goes on.
    Warning(&'a str),
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _event: ProgressEvent<'_>) {}
}
