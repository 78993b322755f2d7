//! The members of an archive, opened by name: where they begin, and how long they are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::unknown_format;
use crate::error::{Context, Error, Kind, Result};
use crate::image::bomb;
use crate::image::compression::Peeked;
use crate::image::tarball::{Entry, EntryKind, Reader};
use crate::spec::compression::Compression;
use crate::spec::digest::Digest;
use crate::store::Store;
use crate::store::blob::{MAX_DOCUMENT, digest_of};
use crate::store::draft::Draft;
use crate::sys::root::Root;

const BUFFER: usize = 128 << 10;
/// No image has as many layers as this; an archive of only names would fill the memory.
const MAX_MEMBERS: usize = 100_000;
/// Bytes that all their names may have together.
const MAX_NAMES: usize = 16 << 20;
/// Links that lead to links, and so on.
const MAX_LINKS: usize = 8;

/// The members of an archive or a directory.
pub(crate) enum Members {
    /// A directory with the members as files.
    Directory(Root),
    /// A tar archive.
    Archive {
        /// The archive.
        file: File,
        /// Where its members are.
        places: HashMap<Vec<u8>, Place>,
        /// Keeps a temporary file until it is done with.
        _temporary: Option<Draft>,
    },
}

/// Where a member is.
pub(crate) enum Place {
    /// Offset and length of its data.
    At(u64, u64),
    /// It is another name for this one.
    Link(Vec<u8>),
}

/// A part of a file. Has its own position, so several threads read one file.
pub(crate) struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).map_or(buffer.len(), |left| buffer.len().min(left));
        let length = self.file.read_at(&mut buffer[..length], self.offset)?;
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}

impl Members {
    /// Opens an archive or a directory.
    pub(crate) fn open(store: &Store, path: &Path) -> Result<Self> {
        let context = || format!("cannot open {}", path.display());
        let file = File::open(path).context(context)?;
        let metadata = file.metadata().context(context)?;
        if metadata.is_dir() {
            return Root::open(path).context(context).map(Self::Directory);
        }
        let mut input = BufReader::with_capacity(BUFFER, &file);
        let beginning = input.fill_buf().context(|| format!("cannot read {}", path.display()))?;
        if !metadata.is_file() || Compression::detect(beginning) != Compression::None {
            return Self::from_stream(store, input);
        }
        Self::index(file, metadata.len(), None)
    }

    /// Writes a stream to a temporary file, decompressed, and opens that.
    pub(crate) fn from_stream(store: &Store, input: impl BufRead) -> Result<Self> {
        let context = || "cannot read the archive";
        let mut input = Peeked::new(input).context(context)?;
        let compression = Compression::detect(input.beginning());
        let ratio = store.max_unpacked_ratio();
        let mut input = bomb::reader(compression, &mut input, ratio).context(context)?;
        let temporary = store.draft_file()?;
        let mut length = 0;
        let mut buffer = vec![0; BUFFER];
        loop {
            let filled = match input.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(bomb::explain(context(), error)),
                Ok(filled) => filled,
            };
            temporary
                .file()
                .write_all(&buffer[..filled])
                .context(|| format!("cannot write {}", temporary.path().display()))?;
            length += filled as u64;
        }
        let file = temporary.file().try_clone().context(context)?;
        Self::index(file, length, Some(temporary))
    }

    /// Finds out where the members are, without reading them.
    fn index(file: File, length: u64, temporary: Option<Draft>) -> Result<Self> {
        let mut places = HashMap::new();
        let mut names = 0;
        let mut entry = Entry::default();
        let mut offset = 0;
        while offset < length {
            let section = Section { file: &file, offset, left: length - offset };
            let mut reader = Reader::new(BufReader::with_capacity(4096, section));
            match reader.next(&mut entry) {
                Ok(true) => {}
                Ok(false) => break,
                // What does not even begin like an archive is something else.
                Err(error) if offset == 0 => return Err(unknown_format().caused_by(error)),
                Err(error) => return Err(error).context(|| "cannot read the archive"),
            }
            let data = offset + reader.position();
            let place = match entry.kind {
                EntryKind::File if entry.sparse.is_none() => Some(Place::At(data, entry.size)),
                EntryKind::HardLink => Some(Place::Link(clean(&entry.link))),
                EntryKind::SymbolicLink => {
                    let slash = entry.path.iter().rposition(|byte| *byte == b'/');
                    let mut target = entry.path[..slash.map_or(0, |slash| slash + 1)].to_vec();
                    target.extend_from_slice(&entry.link);
                    Some(Place::Link(clean(&target)))
                }
                _ => None,
            };
            if let Some(place) = place {
                places.insert(clean(&entry.path), place);
            }
            names += entry.path.len() + entry.link.len();
            if places.len() > MAX_MEMBERS || names > MAX_NAMES {
                return Err(Error::new(Kind::Invalid, "the archive has too many members"));
            }
            offset = entry
                .size
                .checked_next_multiple_of(512)
                .and_then(|size| data.checked_add(size))
                .filter(|end| *end <= length)
                .ok_or_else(|| Error::new(Kind::Invalid, "the archive is cut off"))?;
        }
        Ok(Self::Archive { file, places, _temporary: temporary })
    }

    /// Tells whether there is a member of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Directory(root) => {
                root.file(name.as_bytes(), OFlags::PATH, Mode::empty()).is_ok()
            }
            Self::Archive { places, .. } => places.contains_key(name.as_bytes()),
        }
    }

    /// Returns the names of the files that an archive has right below one of its directories.
    pub(crate) fn files_in(&self, dir: &str) -> Vec<String> {
        let Self::Archive { places, .. } = self else { return Vec::new() };
        let is_file = |(name, place): (&Vec<u8>, &Place)| {
            let name = name.strip_prefix(dir.as_bytes())?.strip_prefix(b"/")?;
            let is_name = !name.contains(&b'/') && !matches!(name, b"" | b"." | b"..");
            let name = std::str::from_utf8(name).ok()?;
            (is_name && matches!(place, Place::At(..))).then(|| name.to_owned())
        };
        places.iter().filter_map(is_file).collect()
    }

    /// Opens a member.
    pub(crate) fn member(&self, name: &str) -> Result<Box<dyn BufRead + '_>> {
        let missing = || Error::new(Kind::Invalid, format!("`{name}` is missing in the archive"));
        match self {
            Self::Directory(root) => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                match root.file(name.as_bytes(), flags, Mode::empty()) {
                    Ok(file) => Ok(Box::new(BufReader::with_capacity(BUFFER, File::from(file)))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
                    Err(error) => Err(error).context(|| format!("cannot open `{name}`")),
                }
            }
            Self::Archive { file, places, .. } => {
                let mut name = clean(name.as_bytes());
                for _ in 0..MAX_LINKS {
                    match places.get(&name) {
                        Some(Place::At(offset, length)) => {
                            let section = Section { file, offset: *offset, left: *length };
                            return Ok(Box::new(BufReader::with_capacity(BUFFER, section)));
                        }
                        Some(Place::Link(target)) => name.clone_from(target),
                        None => break,
                    }
                }
                Err(missing())
            }
        }
    }

    /// Reads a member whole.
    pub(crate) fn document(&self, name: &str) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        let read = self.member(name)?.take(MAX_DOCUMENT + 1).read_to_end(&mut data);
        read.context(|| format!("cannot read `{name}`"))?;
        if data.len() as u64 > MAX_DOCUMENT {
            return Err(Error::new(Kind::Invalid, format!("`{name}` is too large")));
        }
        Ok(data)
    }

    /// Reads a blob whole, and checks it; `name_of` tells where it is.
    pub(crate) fn blob(&self, digest: &Digest, name_of: fn(&Digest) -> String) -> Result<Vec<u8>> {
        let data = self.document(&name_of(digest))?;
        let got = digest_of(&data);
        if got != *digest {
            return Err(Error::new(
                Kind::Invalid,
                format!("blob {digest} is damaged: its digest is {got}"),
            ));
        }
        Ok(data)
    }
}

/// Returns where an OCI layout has a blob.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Cleans a member's name. These are keys, not paths: nothing on this machine is opened by them.
fn clean(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}
