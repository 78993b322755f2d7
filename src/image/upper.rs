//! An upper directory becomes a layer as it lies: read once, to be hashed, and written nowhere.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::changes::{Changed, TreeKind};
use super::merged::Node;
use super::recipe::{Recorder, Tap};
use super::tarball::{Entry, EntryKind, Reader};
use super::tree::TreeStream;
use super::unpack::{Leeway, unpack};
use crate::error::{Context, Result};
use crate::spec::compression::Compression;
use crate::spec::digest::{DiffId, Digest};
use crate::store::draft::Finished;
use crate::store::layer::{LayerDraft, LayerInfo};
use crate::store::packed::Packed;
use crate::sys::root::Root;

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// A layer that is to be moved to its place.
#[derive(Debug)]
pub struct Sealed {
    /// Its ID.
    pub diff_id: DiffId,
    /// Bytes of its files.
    pub size: u64,
    /// Where its files are until then.
    pub path: PathBuf,
    /// The layer itself.
    pub finished: Finished,
}

/// Unpacks what has changed, as a layer, in an empty upper directory.
pub fn apply(input: impl BufRead, upper: &Path) -> Result<()> {
    unpack(Tap::new(input, None), upper, Leeway::default()).map(drop)
}

/// Seals an upper directory. `lower` are the layers below it, the uppermost first.
pub fn seal(draft: LayerDraft<'_>, lower: &[PathBuf]) -> Result<Sealed> {
    let root = Root::open(draft.diff())
        .context(|| format!("cannot open directory {}", draft.diff().display()))?;
    let tree = Changed { root: &root, kind: TreeKind::Upper, owners: None };
    let stream = TreeStream::changes(tree, Node::root(lower)?, &[])?;
    let hashed = Hashed { stream, hash: Sha256::new(), count: 0 };
    let recorder = Recorder::begin(draft.diff())?;
    let input = BufReader::with_capacity(CHUNK, hashed);
    let mut reader = Reader::new(Tap::new(input, Some(recorder)));
    let mut entry = Entry::default();
    let mut size = 0;
    while reader.next(&mut entry).context(|| "cannot read what has changed")? {
        if entry.kind != EntryKind::File || entry.size == 0 {
            continue;
        }
        size += entry.size;
        reader.input().begin_content(&entry.path);
        let pieces = match &entry.sparse {
            Some(sparse) => sparse.pieces.clone(),
            None => vec![(0, entry.size)],
        };
        for (offset, length) in pieces {
            if entry.sparse.is_some() {
                reader.input().go_on_at(offset);
            }
            pass(&mut reader, length).context(|| "cannot read what has changed")?;
        }
        reader.input().end_content();
    }
    let mut tap = reader.into_input();
    // To its end, so that all of it is hashed.
    io::copy(&mut tap, &mut io::sink()).context(|| "cannot read what has changed")?;
    let (hash, count) = {
        let hashed = tap.input().get_mut();
        (std::mem::take(&mut hashed.hash), hashed.count)
    };
    tap.finish(None)?;
    let diff_id = DiffId(Digest::from_sha256(&hash.finalize().into()));
    let packed = Packed {
        digest: diff_id.0.clone(),
        size: count,
        compression: Compression::None,
        level: None,
    };
    draft.note_packed(&[packed])?;
    let path = draft.diff().to_owned();
    let finished = draft.finish(&diff_id, &LayerInfo { size, ..LayerInfo::default() })?;
    Ok(Sealed { diff_id, size, path, finished })
}

/// Puts what a whole tree changes on top of some layers, the uppermost first, into an empty upper
/// directory: for steps that ran without an overlay.
pub fn collect(whole: &Path, lower: &[PathBuf], upper: &Path) -> Result<()> {
    let root =
        Root::open(whole).context(|| format!("cannot open directory {}", whole.display()))?;
    let tree = Changed { root: &root, kind: TreeKind::Whole, owners: None };
    let stream = TreeStream::changes(tree, Node::root(lower)?, &[])?;
    let input = Tap::new(BufReader::with_capacity(CHUNK, stream), None);
    unpack(input, upper, Leeway::default()).map(drop).context(|| "cannot keep what has changed")
}

/// Lets the data of an entry pass.
fn pass<R: BufRead>(reader: &mut Reader<R>, mut length: u64) -> io::Result<()> {
    while length > 0 {
        let available = reader.data()?.len();
        if available == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = usize::try_from(length).map_or(available, |length| length.min(available));
        reader.consume(taken);
        length -= taken as u64;
    }
    Ok(())
}

/// A stream that is hashed as it is read.
struct Hashed<R> {
    stream: R,
    hash: Sha256,
    count: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.count += length as u64;
        Ok(length)
    }
}
