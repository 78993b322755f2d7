//! One layer's way into the store: receive, hash, decompress in one thread; hash, unpack in another.
//!
//! Buffers of a fixed number go round between the two, so memory does not depend on the layer.
//! Nothing is in its place until all digests are verified; the caller publishes what is returned.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::bomb;
use super::compression::Peeked;
use super::hashing::{self, Buffer, Hashing};
use super::recipe::{Recorder, Tap};
use super::unpack::{Leeway, unpack};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::compression::Compression;
use crate::spec::digest::{DiffId, Digest};
use crate::spec::storage::DriverName;
use crate::store::Store;
use crate::store::blob::BlobDraft;
use crate::store::draft::Finished;
use crate::store::layer::LayerInfo;
use crate::store::packed::Packed;

/// Large enough that handing over costs nothing, small enough for the processor's cache.
const BUFFER: usize = 128 << 10;
const BUFFERS_UNDER_WAY: usize = 3;
/// One is filled, one is read, others may wait to be hashed.
const MOST_BUFFERS: usize = BUFFERS_UNDER_WAY + hashing::MOST_WAITING + 2;

/// What is known of a layer before it comes.
pub(crate) struct Expected<'a> {
    /// Digest and size of the stream as it comes; it is also kept as a blob then, if it is compressed.
    pub(crate) blob: Option<(&'a Digest, u64)>,
    /// Digest of the tar stream in it.
    pub(crate) diff_id: Option<&'a DiffId>,
}

impl Expected<'_> {
    /// Tells whether a blob is the tar stream itself: keeping it would be a second copy of all files.
    fn is_plain(&self, digest: &Digest) -> bool {
        self.diff_id.is_some_and(|id| id.0 == *digest)
    }
}

/// A layer that came, was verified and unpacked.
pub(crate) struct Ingested {
    /// Digest of its tar stream.
    pub(crate) diff_id: DiffId,
    /// What was found in unpacking.
    pub(crate) info: LayerInfo,
    /// What is to be published.
    pub(crate) finished: Vec<Finished>,
}

/// Takes in a layer; `received` is told how many bytes came so far.
pub(crate) fn layer<R: BufRead>(
    store: &Store,
    input: R,
    expected: &Expected<'_>,
    received: impl FnMut(u64),
) -> Result<Ingested> {
    let kept = expected.blob.filter(|(digest, _)| !expected.is_plain(digest));
    let blob = match kept {
        Some(_) => Some(store.blobs().begin()?),
        None => None,
    };
    layer_into(store, input, blob, expected, received)
}

/// As [`layer`], with the blob that is to keep the stream as it comes; none if it comes from there.
pub(crate) fn layer_into<R: BufRead>(
    store: &Store,
    input: R,
    blob: Option<BlobDraft<'_>>,
    expected: &Expected<'_>,
    received: impl FnMut(u64),
) -> Result<Ingested> {
    let draft = store.layers().begin()?;
    let kept = expected.blob.filter(|(digest, _)| !expected.is_plain(digest));
    // Without a blob the tar stream could not be made again.
    let recorder = match kept {
        Some(_) => None,
        None => Some(Recorder::begin(draft.diff())?),
    };
    let leeway = Leeway {
        squash: store.ignores_chown_errors(),
        plain_whiteouts: store.driver() != DriverName::Overlay,
    };
    let mut stream = Incoming {
        input,
        blob,
        seen: 0,
        count: 0,
        limit: expected.blob.map(|blob| blob.1),
        received,
    };

    let (full, arriving) = sync_channel(BUFFERS_UNDER_WAY);
    let (returned, empty) = channel();
    let (first, second) = thread::scope(|scope| {
        let diff = draft.diff();
        let unpacker = scope.spawn(move || {
            let mut tar = Tar::new(arriving, returned);
            let info = unpack(Tap::new(&mut tar, recorder), diff, leeway)?;
            let diff_id = DiffId(Digest::from_sha256(&tar.hash.finish()));
            Ok((info, diff_id, tar.count))
        });
        let first = pass_on(&mut stream, store.max_unpacked_ratio(), &full, &empty);
        // Its end is told by a message; without one it was cut off.
        drop(full);
        (first, unpacker.join())
    });
    let second: Result<(LayerInfo, DiffId, u64)> =
        second.unwrap_or_else(|_| Err(Error::new(Kind::Internal, "the unpacking thread failed")));

    // Bytes that are not those that were asked for explain every other failure.
    if let Some((digest, size)) = expected.blob
        && !matches!(first, Err(Stopped::Receive(_) | Stopped::Keep(_)))
        && !(matches!(first, Err(Stopped::Downstream)) && is_about_this_machine(&second))
    {
        stream.verify(digest, size)?;
    }
    let compression = match first {
        Err(Stopped::Receive(error)) => return Err(error).context(|| "cannot receive the layer"),
        Err(Stopped::Keep(error)) => return Err(error).context(|| "cannot write the layer"),
        Err(Stopped::Decompress(error)) => {
            return Err(bomb::explain("cannot decompress the layer", error));
        }
        Err(Stopped::Downstream) => Compression::None,
        Ok(compression) => compression,
    };
    let (info, diff_id, size) = second?;
    if let Some(want) = expected.diff_id
        && diff_id != *want
    {
        return Err(Error::new(
            Kind::Invalid,
            format!("the layer does not match its digest: it should be {want} and is {diff_id}"),
        )
        .hint("the image is damaged at its source"));
    }
    let mut finished = Vec::new();
    let mut packed = Vec::new();
    if let Some((digest, size)) = kept {
        packed.push(Packed { digest: digest.clone(), size, compression, level: None });
    }
    match (stream.blob, kept) {
        (Some(blob), Some((digest, _))) => finished.push(blob.finish(digest)),
        // Until the layer is in its place it tells others that it is on its way.
        (Some(blob), None) => finished.push(blob.finish_spent()),
        // The blob is here.
        (None, _) => {}
    }
    let digest = diff_id.0.clone();
    packed.push(Packed { digest, size, compression: Compression::None, level: None });
    draft.note_packed(&packed)?;
    finished.push(draft.finish(&diff_id, &info)?);
    Ok(Ingested { diff_id, info, finished })
}

/// Tells whether unpacking failed for a reason that the bytes have nothing to do with.
fn is_about_this_machine<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() != Kind::Invalid)
}

/// Why the first half stopped.
enum Stopped {
    /// The stream broke off.
    Receive(io::Error),
    /// What came could not be written.
    Keep(io::Error),
    /// What came is not what it seems to be.
    Decompress(io::Error),
    /// The second half failed, and says why.
    Downstream,
}

fn pass_on<R: BufRead, F: FnMut(u64)>(
    stream: &mut Incoming<R, F>,
    max_ratio: u64,
    full: &SyncSender<Message>,
    empty: &Receiver<Vec<u8>>,
) -> Result<Compression, Stopped> {
    let mut peeked = Peeked::new(&mut *stream)?;
    let compression = Compression::detect(peeked.beginning());
    let mut tar = bomb::reader(compression, &mut peeked, max_ratio)?;
    let mut made = 0;
    loop {
        let mut buffer = match empty.try_recv() {
            Ok(buffer) => buffer,
            Err(_) if made < MOST_BUFFERS => {
                made += 1;
                vec![0; BUFFER]
            }
            Err(_) => empty.recv().map_err(|_| Stopped::Downstream)?,
        };
        buffer.resize(BUFFER, 0);
        let mut filled = 0;
        while filled < BUFFER {
            match tar.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if filled == 0 {
            break;
        }
        buffer.truncate(filled);
        full.send(Message::Data(buffer)).map_err(|_| Stopped::Downstream)?;
    }
    drop(tar);
    // What follows the compressed stream counts for the digest.
    io::copy(&mut peeked, &mut io::sink())?;
    full.send(Message::End).map_err(|_| Stopped::Downstream)?;
    Ok(compression)
}

enum Message {
    Data(Vec<u8>),
    End,
}

/// A failure of the stream itself, among those of its decoder.
#[derive(Debug)]
enum Broken {
    /// It did not come.
    Receive(io::Error),
    /// It could not be kept.
    Keep(io::Error),
}

impl Broken {
    fn receive(error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self::Receive(error))
    }

    fn keep(error: io::Error) -> io::Error {
        io::Error::new(error.kind(), Self::Keep(error))
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Receive(error) | Self::Keep(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Broken {}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        match error.downcast() {
            Ok(Broken::Receive(error)) => Self::Receive(error),
            Ok(Broken::Keep(error)) => Self::Keep(error),
            Err(error) => Self::Decompress(error),
        }
    }
}

/// The stream as it comes: counts, hashes and keeps what passes.
struct Incoming<'a, R, F> {
    input: R,
    blob: Option<BlobDraft<'a>>,
    /// Bytes of the input's buffer that were kept already.
    seen: usize,
    count: u64,
    limit: Option<u64>,
    received: F,
}

impl<R: BufRead, F: FnMut(u64)> Incoming<'_, R, F> {
    /// Reads what is left of the stream, and compares it with what was asked for.
    fn verify(&mut self, digest: &Digest, size: u64) -> Result<()> {
        io::copy(self, &mut io::sink()).context(|| "cannot receive the layer")?;
        if self.count != size {
            return Err(Error::new(
                Kind::Invalid,
                format!("the layer is cut off: {} of {size} bytes came", self.count),
            ));
        }
        let Some(blob) = &self.blob else { return Ok(()) };
        let (got, _) = blob.digest();
        if got != *digest {
            return Err(Error::new(
                Kind::Invalid,
                format!("the layer is damaged: its digest should be {digest} and is {got}"),
            ));
        }
        Ok(())
    }
}

impl<R: BufRead, F: FnMut(u64)> BufRead for Incoming<'_, R, F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = self.input.fill_buf().map_err(Broken::receive)?;
        if buffer.len() > self.seen {
            let fresh = &buffer[self.seen..];
            if let Some(blob) = &mut self.blob {
                blob.append(fresh, hashing::update).map_err(Broken::keep)?;
            }
            self.count += fresh.len() as u64;
            self.seen = buffer.len();
            (self.received)(self.count);
            if self.limit.is_some_and(|limit| self.count > limit) {
                return Err(Broken::receive(io::Error::new(
                    ErrorKind::InvalidData,
                    "it is larger than the manifest says",
                )));
            }
        }
        Ok(buffer)
    }

    fn consume(&mut self, length: usize) {
        self.seen -= length;
        self.input.consume(length);
    }
}

impl<R: BufRead, F: FnMut(u64)> Read for Incoming<'_, R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// The tar stream as the second half sees it: hashed as it arrives.
struct Tar {
    arriving: Receiver<Message>,
    returned: Sender<Vec<u8>>,
    buffer: Option<Arc<Buffer>>,
    position: usize,
    ended: bool,
    hash: Hashing,
    count: u64,
}

impl Tar {
    fn new(arriving: Receiver<Message>, returned: Sender<Vec<u8>>) -> Self {
        let hash = Hashing::begin();
        Self { arriving, returned, buffer: None, position: 0, ended: false, hash, count: 0 }
    }

    fn left(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer.data()[self.position..])
    }
}

impl BufRead for Tar {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left().is_empty() && !self.ended {
            self.buffer = None;
            self.position = 0;
            match self.arriving.recv() {
                Ok(Message::Data(data)) => {
                    self.count += data.len() as u64;
                    let buffer = Buffer::new(data, self.returned.clone());
                    self.hash.add(&buffer);
                    self.buffer = Some(buffer);
                }
                Ok(Message::End) => self.ended = true,
                // The first half failed, and says why.
                Err(_) => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(self.left())
    }

    fn consume(&mut self, length: usize) {
        self.position += length;
    }
}

impl Read for Tar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}
