//! What the fuzz targets of `tests/fuzz` need to reach: the readers of what strangers made.

use std::io;

use super::archive::{self, ArchiveSource, LoadOptions, Selection};
use super::ingest::{self, Expected};
use super::manifest::{Document, choose};
use super::progress::Silent;
use super::stream::TarStream;
use crate::error::Result;
use crate::spec::platform::Platform;
use crate::store::Store;

/// Unpacks a layer into the store, makes its tar stream again, and removes it.
pub fn layer(store: &Store, data: &[u8]) -> Result<()> {
    let expected = Expected { blob: None, diff_id: None };
    let ingested = ingest::layer(store, data, &expected, |_| {})?;
    store.publish(ingested.finished)?;
    let mut stream = TarStream::open(store, &ingested.diff_id)?;
    io::copy(&mut stream, &mut io::sink()).expect("what was unpacked comes back");
    drop(stream);
    store.collect_garbage(&store.exclusive()?)?.erase().map(drop)
}

/// Loads an archive with images.
pub fn archive(store: &Store, data: &[u8]) -> Result<()> {
    let options = LoadOptions {
        platform: &Platform::host(),
        signature_policy: None,
        selection: Selection::All,
    };
    archive::load(store, ArchiveSource::Stream(Box::new(data)), &options, &Silent).map(drop)
}

/// Reads a manifest or an index, and chooses from it.
pub fn manifest(data: &[u8]) -> Result<()> {
    if let Document::Index(index) = Document::parse(data)? {
        choose(&index, &Platform::host())?;
    }
    Ok(())
}
