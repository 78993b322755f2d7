//! A tree of files as a tar stream: what it changes on top of some layers, or all of it.
//!
//! The stream is made as it is read, once. What is looked at may change meanwhile, and whoever changes
//! it may mean harm: a name is opened without any effect first, below a directory that no link leads
//! to, and only what is a file is opened to be read. What goes while it is read is filled up with
//! zeros, as tar does; what comes is left out.
//!
//! The order is that of the walk, times are whole seconds, and owners have no names: the same tree makes
//! the same stream. Sockets are left out; they mean nothing elsewhere.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, Stat, fstat, major, minor, readlinkat, seek};
use rustix::io::Errno;

use super::changes::{ChangeKind, Changed, Found, TreeKind, Walk};
use super::header::{BLOCK, Header};
use super::merged::{Node, kind_of, still_there};
use super::sparse::Sparse;
use super::tarball::EntryKind;
use crate::error::{Context, Result};
use crate::spec::userns::IdMapping;
use crate::sys::root::Root;
use crate::sys::xattrs;

/// Holes that are worth a map, in bytes: there are readers that know none.
const WORTH_A_MAP: u64 = 64 << 10;
/// More pieces are not kept apart: readers have limits.
const MAX_PIECES: usize = 100_000;
/// Bytes that are written at a time.
const CHUNK: usize = 256 << 10;
/// Files that changed while they were read and are named.
const MAX_NAMED: usize = 10;

/// A tree as a tar stream.
#[derive(Debug)]
pub struct TreeStream<'a> {
    tree: Changed<'a>,
    walk: Walk<'a>,
    /// The directory that the last entry was in.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Files with several names: what the first of them was called.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Headers and what fills up blocks, and how much of it was read.
    buffer: Vec<u8>,
    taken: usize,
    content: Option<Content>,
    is_over: bool,
    changed: Vec<String>,
    /// How many bytes of each path are left out, and what is written in their place.
    shown: (usize, &'a [u8]),
}

/// The data of a file that is being read.
#[derive(Debug)]
struct Content {
    file: File,
    /// Offsets and lengths of what is left, the last first.
    pieces: Vec<(u64, u64)>,
    /// Bytes that fill up the last block.
    padding: usize,
    path: Vec<u8>,
    noted: bool,
}

impl<'a> TreeStream<'a> {
    /// Makes a stream of what a tree changes; see [`Walk::new`].
    pub fn changes(tree: Changed<'a>, lower: Option<Node>, ignored: &'a [&'a str]) -> Result<Self> {
        Ok(Self::of(tree, Walk::new(tree, lower, ignored)?, (0, b"")))
    }

    fn of(tree: Changed<'a>, walk: Walk<'a>, shown: (usize, &'a [u8])) -> Self {
        Self {
            tree,
            walk,
            parent: None,
            links: HashMap::new(),
            buffer: Vec::new(),
            taken: 0,
            content: None,
            is_over: false,
            changed: Vec::new(),
            shown,
        }
    }

    /// Makes a stream of one name in a directory, with what is below it. In the archive it is called
    /// `shown`.
    pub fn one(
        root: &'a Root,
        name: &[u8],
        shown: &'a [u8],
        owners: Option<&'a IdMapping>,
    ) -> Result<Self> {
        let tree = Changed { root, kind: TreeKind::Whole, owners };
        Ok(Self::of(tree, Walk::of_one(tree, name)?, (name.len(), shown)))
    }

    /// Makes a stream of all that is in a directory.
    pub fn all(root: &'a Root, owners: Option<&'a IdMapping>) -> Result<Self> {
        Self::changes(Changed { root, kind: TreeKind::Whole, owners }, None, &[])
    }

    /// Writes what is left of it; `context` says what fails if it cannot be read.
    pub fn write_to(&mut self, out: &mut dyn Write, context: impl Fn() -> String) -> Result<()> {
        let mut buffer = Vec::with_capacity(CHUNK);
        loop {
            buffer.clear();
            self.by_ref().take(CHUNK as u64).read_to_end(&mut buffer).context(&context)?;
            if buffer.is_empty() {
                return out.flush().context(|| "cannot write the archive");
            }
            out.write_all(&buffer).context(|| "cannot write the archive")?;
        }
    }

    /// Returns the files that became shorter while they were read, as far as they are few.
    pub fn changed(&self) -> &[String] {
        &self.changed
    }

    /// Prepares what comes next; `false` at the end.
    fn next(&mut self) -> Result<bool> {
        self.buffer.clear();
        self.taken = 0;
        if self.is_over {
            return Ok(false);
        }
        match self.walk.next() {
            None => {
                self.is_over = true;
                self.buffer.resize(2 * BLOCK, 0);
            }
            Some(found) => {
                let found = found?;
                let path = found.path.clone();
                self.add(found).context(|| format!("cannot pack `/{}`", path.escape_ascii()))?;
            }
        }
        Ok(true)
    }

    fn add(&mut self, found: Found) -> Result<()> {
        if found.kind == ChangeKind::Deleted {
            if !found.is_covered {
                self.whiteout(&found.path, None);
            }
            return Ok(());
        }
        let Some(file) = self.open(&found.path)? else { return Ok(()) };
        let stat = self.tree.in_image(fstat(&file).context(|| "cannot look at it")?);
        let mut header = Header {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            ..Header::default()
        };
        let kind = kind_of(&stat);
        let shown = [self.shown.1, &found.path[self.shown.0..]].concat();
        if kind != FileType::Directory && stat.st_nlink > 1 {
            match self.links.entry((stat.st_dev, stat.st_ino)) {
                Entry::Occupied(first) => {
                    let link = first.get().as_slice();
                    Header { path: &shown, link, kind: EntryKind::HardLink, ..header }
                        .write(&mut self.buffer);
                    return Ok(());
                }
                Entry::Vacant(place) if kind != FileType::Socket => {
                    place.insert(shown.clone());
                }
                Entry::Vacant(_) => {}
            }
        }
        header.path = &shown;
        match kind {
            FileType::RegularFile => return self.file(&file, &stat, &header),
            FileType::Directory => {
                let opened = reopened(&file, OFlags::RDONLY | OFlags::DIRECTORY);
                let xattrs =
                    opened.and_then(xattrs::of).context(|| "cannot read its attributes")?;
                let path = [&shown[..], b"/"].concat();
                header = Header { path: &path, kind: EntryKind::Directory, ..header };
                header.xattrs = &xattrs;
                header.write(&mut self.buffer);
                if found.hides_lower {
                    self.whiteout(&found.path, Some(b".wh..opq"));
                }
                return Ok(());
            }
            FileType::Symlink => {
                let target = readlinkat(&file, c"", Vec::new()).context(|| "cannot read it")?;
                let kind = EntryKind::SymbolicLink;
                Header { kind, link: target.as_bytes(), ..header }.write(&mut self.buffer);
                return Ok(());
            }
            FileType::Fifo => header.kind = EntryKind::Fifo,
            FileType::CharacterDevice => header.kind = EntryKind::CharacterDevice,
            FileType::BlockDevice => header.kind = EntryKind::BlockDevice,
            // A socket.
            _ => return Ok(()),
        }
        if kind != FileType::Fifo {
            header.device = (major(stat.st_rdev), minor(stat.st_rdev));
        }
        header.write(&mut self.buffer);
        Ok(())
    }

    /// Opens something without any effect on it; `None` if it is not there any more.
    fn open(&mut self, path: &[u8]) -> Result<Option<OwnedFd>> {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        if self.parent.as_ref().is_none_or(|(known, _)| known != parent) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let opened = still_there(self.tree.root.beneath(parent, flags));
            let Some(opened) = opened.context(|| "cannot open its directory")? else {
                return Ok(None);
            };
            self.parent = Some((parent.to_vec(), opened));
        }
        let Some((_, directory)) = &self.parent else { return Ok(None) };
        let opened = self.tree.root.entry(directory, name, OFlags::PATH | OFlags::NOFOLLOW);
        still_there(opened).context(|| "cannot open it")
    }

    fn file(&mut self, file: &OwnedFd, stat: &Stat, header: &Header<'_>) -> Result<()> {
        // What cannot be opened for reading by us can by nobody.
        let opened = reopened(file, OFlags::RDONLY).context(|| "cannot open it")?;
        let xattrs = xattrs::of(&opened).context(|| "cannot read its attributes")?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let sparse = map_of(&opened, stat, size).context(|| "cannot find its holes")?;
        let mut pieces = match &sparse {
            Some(sparse) => sparse.pieces.clone(),
            None => vec![(0, size)],
        };
        let length: u64 = pieces.iter().map(|(_, length)| length).sum();
        let header = Header {
            path: header.path,
            xattrs: &xattrs,
            size: length,
            sparse: sparse.as_ref(),
            ..*header
        };
        header.write(&mut self.buffer);
        if length > 0 {
            pieces.reverse();
            let over = usize::try_from(length % BLOCK as u64).unwrap_or(0);
            self.content = Some(Content {
                file: File::from(opened),
                pieces,
                padding: (BLOCK - over) % BLOCK,
                path: header.path.to_vec(),
                noted: false,
            });
        }
        Ok(())
    }

    /// Writes the mark for a name that is gone, or for all names in a directory.
    fn whiteout(&mut self, path: &[u8], all_in_it: Option<&[u8]>) {
        let (parent, name) = match (all_in_it, path.iter().rposition(|byte| *byte == b'/')) {
            (Some(name), _) => ([path, b"/"].concat(), name),
            (None, Some(slash)) => (path[..=slash].to_vec(), &path[slash + 1..]),
            (None, None) => (Vec::new(), path),
        };
        let path = [&parent[..], b".wh.", name].concat();
        Header { path: &path, mode: 0o600, ..Header::default() }.write(&mut self.buffer);
    }
}

impl Read for TreeStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.taken < self.buffer.len() {
                let length = buffer.len().min(self.buffer.len() - self.taken);
                buffer[..length].copy_from_slice(&self.buffer[self.taken..self.taken + length]);
                self.taken += length;
                return Ok(length);
            }
            if buffer.is_empty() {
                return Ok(0);
            }
            if let Some(content) = &mut self.content {
                if let Some(length) = content.read(buffer, &mut self.changed)? {
                    return Ok(length);
                }
                self.buffer.clear();
                self.buffer.resize(content.padding, 0);
                self.taken = 0;
                self.content = None;
                continue;
            }
            match self.next() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

impl Content {
    /// Reads some of what is left; `None` if nothing is.
    fn read(&mut self, buffer: &mut [u8], changed: &mut Vec<String>) -> io::Result<Option<usize>> {
        let Some((offset, left)) = self.pieces.last_mut() else { return Ok(None) };
        let most = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let mut length = self.file.read_at(&mut buffer[..most], *offset)?;
        if length == 0 {
            // It was longer when its header was written.
            buffer[..most].fill(0);
            length = most;
            if !self.noted && changed.len() < MAX_NAMED {
                changed.push(format!("/{}", self.path.escape_ascii()));
            }
            self.noted = true;
        }
        *offset += length as u64;
        *left -= length as u64;
        if *left == 0 {
            self.pieces.pop();
        }
        Ok(Some(length))
    }
}

/// Opens again what is open without any rights.
fn reopened(file: &OwnedFd, flags: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?)
}

/// Finds the holes of a file, if it has some that are worth it.
fn map_of(file: &OwnedFd, stat: &Stat, size: u64) -> io::Result<Option<Sparse>> {
    // It counts in such blocks whatever the file system's are.
    let taken = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if size.saturating_sub(taken) < WORTH_A_MAP {
        return Ok(None);
    }
    let mut sparse = Sparse { size, pieces: Vec::new() };
    let mut offset = 0;
    let mut data = 0;
    while offset < size && sparse.pieces.len() < MAX_PIECES {
        let start = match seek(file, SeekFrom::Data(offset)) {
            Ok(start) if start < size => start,
            // Nothing but a hole is left.
            Ok(_) | Err(Errno::NXIO) => break,
            // A file system that knows none.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        if end <= start {
            break;
        }
        sparse.pieces.push((start, end - start));
        data += end - start;
        offset = end;
    }
    if sparse.pieces.len() == MAX_PIECES {
        return Ok(None);
    }
    // Compressed files take less than they have, without a hole.
    Ok((size - data >= WORTH_A_MAP).then_some(sparse))
}
