//! What the fuzz targets of `tests/fuzz` need to reach: the readers of what strangers made.

use super::archive::{self, ArchiveSource};
use super::ingest::{self, Expected};
use super::manifest::{Document, choose};
use super::progress::Silent;
use crate::error::Result;
use crate::spec::digest::DiffId;
use crate::spec::platform::Platform;
use crate::store::Store;

/// Unpacks a layer into the store, and drops it again.
pub fn layer(store: &Store, data: &[u8]) -> Result<DiffId> {
    let expected = Expected { blob: None, diff_id: None };
    ingest::layer(store, data, &expected, |_| {}).map(|ingested| ingested.diff_id)
}

/// Loads an archive with images.
pub fn archive(store: &Store, data: &[u8]) -> Result<()> {
    archive::load(store, ArchiveSource::Stream(Box::new(data)), &Platform::host(), &Silent)
        .map(drop)
}

/// Reads a manifest or an index, and chooses from it.
pub fn manifest(data: &[u8]) -> Result<()> {
    if let Document::Index(index) = Document::parse(data)? {
        choose(&index, &Platform::host())?;
    }
    Ok(())
}
