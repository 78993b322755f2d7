//! A layer's tar stream: decompressed from the blob that it came as, or made from its recipe.

use std::fs::File;
use std::io::{self, BufReader, Read};

use sha2::{Digest as _, Sha256};

use super::ahead::read_ahead;
use super::compression::Peeked;
use super::recipe::Replay;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::compression::Compression;
use crate::spec::digest::{DiffId, Digest};
use crate::store::Store;

const BUFFER: usize = 256 << 10;

/// The tar stream of a layer. Its end is an error if it is not what the layer's name says.
pub(crate) struct TarStream<R = Box<dyn Read + Send>> {
    input: R,
    hash: Option<Sha256>,
    id: DiffId,
}

impl TarStream {
    /// Opens the tar stream of a layer.
    pub(crate) fn open(store: &Store, id: &DiffId) -> Result<Self> {
        let context = || format!("cannot read layer {id}");
        let input: Box<dyn Read + Send> = match blob(store, id)? {
            Some(file) => {
                let blob = Peeked::new(BufReader::with_capacity(BUFFER, file)).context(context)?;
                let compression = Compression::detect(blob.beginning());
                Box::new(compression.reader(blob).context(context)?)
            }
            None => match Replay::open(&store.layers().path(id)).context(context)? {
                Some(replay) => Box::new(replay),
                None => {
                    return Err(Error::new(
                        Kind::NotFound,
                        format!("the archive of layer {id} is missing"),
                    )
                    .hint("remove the image and pull or load it again"));
                }
            },
        };
        Ok(Self { input, hash: Some(Sha256::new()), id: id.clone() })
    }

    /// Lets `consume` read the stream. It is made in another thread, and verified in this one.
    pub(crate) fn read_ahead<T>(self, consume: impl FnOnce(&mut dyn Read) -> T) -> T {
        let Self { input, hash, id } = self;
        read_ahead(input, |input| consume(&mut TarStream { input, hash, id }))
    }
}

/// Opens the blob that a layer came as, if it is here.
fn blob(store: &Store, id: &DiffId) -> Result<Option<File>> {
    for packed in store.layers().packed(id)? {
        if let Some(file) = store.blobs().open(&packed.digest)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

impl<R: Read> Read for TarStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        if length > 0 {
            if let Some(hash) = &mut self.hash {
                hash.update(&buffer[..length]);
            }
        } else if !buffer.is_empty()
            && let Some(hash) = self.hash.take()
        {
            let got = Digest::from_sha256(&hash.finalize().into());
            if got != self.id.0 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("layer {} was changed in the store: its digest is {got} now", self.id),
                ));
            }
        }
        Ok(length)
    }
}
