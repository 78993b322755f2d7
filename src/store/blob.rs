//! Blobs: manifests, configurations and compressed layers, byte for byte as they came.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use sha2::Digest as _;

use super::draft::{Draft, Finished};
use super::{Store, file};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::sys::sha256::Sha256;

/// Documents above this size are refused: nobody's manifest or configuration is this large.
pub const MAX_DOCUMENT: u64 = 8 << 20;

/// All blobs of a store.
#[derive(Clone, Copy, Debug)]
pub struct Blobs<'a> {
    store: &'a Store,
}

/// A blob that is being written.
#[derive(Debug)]
pub struct BlobDraft<'a> {
    blobs: Blobs<'a>,
    draft: Draft,
    hash: Sha256,
    size: u64,
    /// How many of the first bytes are in the file already.
    here: u64,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    /// Returns where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.store.root.join("blobs/sha256").join(digest.hex())
    }

    /// Tells whether a blob is there.
    pub fn exists(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Returns the size of a blob in bytes; 0 if it is not there.
    pub fn size(&self, digest: &Digest) -> u64 {
        fs::metadata(self.path(digest)).map_or(0, |metadata| metadata.len())
    }

    /// Opens a blob; `None` if it is not there.
    pub fn open(&self, digest: &Digest) -> Result<Option<File>> {
        match File::open(self.path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("cannot open blob {digest}")),
        }
    }

    /// Reads a document whole and checks its digest; `None` if it is not there.
    pub fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let path = self.path(digest);
        let data = match fs::read(&path) {
            Ok(data) => data,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(|| format!("cannot read blob {digest}")),
        };
        if digest_of(&data) != *digest {
            return Err(Error::new(Kind::Internal, format!("{} is damaged", path.display()))
                .hint("pull or load the image again"));
        }
        Ok(Some(data))
    }

    /// Begins a blob.
    pub fn begin(&self) -> Result<BlobDraft<'a>> {
        Ok(BlobDraft {
            blobs: *self,
            draft: self.store.draft_file()?,
            hash: Sha256::default(),
            size: 0,
            here: 0,
        })
    }

    /// Goes on with a blob of which the first bytes are in a file that is locked.
    pub(super) fn go_on(&self, path: PathBuf, file: File, here: u64) -> BlobDraft<'a> {
        let draft = Draft::of_partial(path, file);
        BlobDraft { blobs: *self, draft, hash: Sha256::default(), size: 0, here }
    }

    /// Stores a document that is in memory already; one that is there and damaged is replaced.
    pub fn write(&self, data: &[u8]) -> Result<Digest> {
        let context = |digest: &Digest| format!("cannot write blob {digest}");
        let flush =
            |draft: &Draft, digest: &Digest| draft.file().sync_all().context(|| context(digest));
        let digest = self.place(data, flush)?;
        file::sync_parent(&self.path(&digest)).context(|| context(&digest))?;
        Ok(digest)
    }

    /// As [`write`](Self::write), for [`Store::flush_later`] to make it durable.
    pub fn write_soon(&self, data: &[u8]) -> Result<Digest> {
        self.place(data, |_, digest| self.store.mark([self.path(digest).as_path()]))
    }

    /// Stores a document, unless it is there; `ready` sees it before it is in its place.
    fn place(
        &self,
        data: &[u8],
        ready: impl FnOnce(&Draft, &Digest) -> Result<()>,
    ) -> Result<Digest> {
        let digest = digest_of(data);
        let path = self.path(&digest);
        if fs::read(&path).is_ok_and(|known| known == data) {
            return Ok(digest);
        }
        let context = || format!("cannot write blob {digest}");
        let draft = self.store.draft_file()?;
        draft.file().write_all(data).context(context)?;
        ready(&draft, &digest)?;
        fs::rename(draft.path(), &path).context(context)?;
        Ok(digest)
    }

    /// Removes a blob; one that is not there is fine.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        file::remove_file(&self.path(digest))
    }
}

impl BlobDraft<'_> {
    /// Returns the digest of what was written so far, and its size.
    pub fn digest(&self) -> (Digest, u64) {
        (Digest::from_sha256(&self.hash.clone().finish()), self.size)
    }

    /// Gives up making a blob of it; the file stays as long as the draft.
    pub fn into_draft(self) -> Draft {
        self.draft
    }

    /// Returns how many bytes were written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes bytes; `update` adds them to the hash.
    pub fn append(
        &mut self,
        data: &[u8],
        update: impl FnOnce(&mut Sha256, &[u8]),
    ) -> std::io::Result<()> {
        let here = usize::try_from(self.here.saturating_sub(self.size)).unwrap_or(usize::MAX);
        self.draft.file().write_all(&data[here.min(data.len())..])?;
        update(&mut self.hash, data);
        self.size += data.len() as u64;
        Ok(())
    }

    /// Opens what was written so far, for as long as it takes.
    pub fn file(&self) -> Result<File> {
        self.draft.file().try_clone().context(|| "cannot open a blob that is being written")
    }

    /// Declares that it has done its duty: it is removed when the others are published.
    pub fn finish_spent(self) -> Finished {
        self.draft.finish_spent()
    }

    /// Declares it complete; `digest` is what [`digest`](Self::digest) returned.
    pub fn finish(self, digest: &Digest) -> Finished {
        let place = self.blobs.path(digest);
        self.draft.finish(place)
    }
}

impl Write for BlobDraft<'_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.append(data, Sha256::update)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Computes the digest of bytes in memory.
pub fn digest_of(data: &[u8]) -> Digest {
    Digest::from_sha256(&sha2::Sha256::digest(data).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_bytes_and_notices_damage() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let blobs = store.blobs();
        let digest = blobs.write(b"{}").unwrap();
        assert_eq!(
            digest.as_str(),
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        assert_eq!(blobs.read(&digest).unwrap().as_deref(), Some(b"{}".as_slice()));
        fs::write(blobs.path(&digest), b"{ ").unwrap();
        assert!(blobs.read(&digest).is_err());
        blobs.remove(&digest).unwrap();
        assert!(blobs.read(&digest).unwrap().is_none());

        let mut draft = blobs.begin().unwrap();
        draft.write_all(b"{").unwrap();
        draft.write_all(b"}").unwrap();
        let (streamed, size) = draft.digest();
        assert_eq!((&streamed, size), (&digest, 2));
        store.publish(vec![draft.finish(&streamed)]).unwrap();
        assert!(blobs.exists(&digest));
    }
}
