//! `ADD` of an archive: unpacked into a directory of the image, which is its root.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, Write};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
    chmodat, chownat, fchmod, fsetxattr, futimens, linkat, makedev, mknodat, openat, symlinkat,
    utimensat,
};

use super::upper::{Directory, Existing, Names, NewDirectory, Upper, give, look, names, resolve};
use crate::error::{Context, Error, Kind, Result};
use crate::image::compression::Decompressed;
use crate::image::tarball::{Entry, EntryKind, Reader};
use crate::spec::compression::Compression;
use crate::sys::root::remove_all;

/// What the names of whiteouts begin with.
const WHITEOUT: &[u8] = b".wh.";

/// Bytes that are read at a time.
const CHUNK: usize = 128 << 10;

/// An archive that is read.
pub(super) type Archive = Reader<BufReader<Decompressed<BufReader<File>>>>;

/// Opens an archive, compressed or not; `None` if the file is none, or has nothing in it.
pub(super) fn open(mut file: File) -> Result<Option<Archive>> {
    let context = || "cannot read an archive";
    let mut begin = || -> Result<Option<Archive>> {
        file.rewind().context(context)?;
        let copy = file.try_clone().context(context)?;
        let mut input = BufReader::with_capacity(CHUNK, copy);
        let compression = Compression::detect(input.fill_buf().context(context)?);
        // What begins like something compressed need not be.
        let Ok(plain) = compression.reader(input) else { return Ok(None) };
        Ok(Some(Reader::new(BufReader::with_capacity(CHUNK, plain))))
    };
    let Some(mut first) = begin()? else { return Ok(None) };
    match first.next(&mut Entry::default()) {
        Ok(true) => begin(),
        Ok(false) | Err(_) => Ok(None),
    }
}

/// Unpacks an archive.
pub(super) fn unpack(
    mut archive: Archive,
    upper: &mut Upper,
    target: &Names,
    owner: Option<(u32, u32)>,
    new: NewDirectory,
) -> Result<()> {
    upper.directory(target, new)?;
    let mut unpacker = Unpacker { upper, target, owner, new, directories: Vec::new() };
    let mut entry = Entry::default();
    while archive.next(&mut entry).context(|| "cannot read the archive")? {
        unpacker
            .add(&entry, &mut archive)
            .context(|| format!("cannot unpack `{}`", entry.path.escape_ascii()))?;
    }
    unpacker.finish()
}

struct Unpacker<'a> {
    upper: &'a mut Upper,
    target: &'a Names,
    owner: Option<(u32, u32)>,
    new: NewDirectory,
    /// Directories and what they get when all is in them.
    directories: Vec<(Names, u32, Timestamps)>,
}

impl Unpacker<'_> {
    /// Resolves a path of the archive: the directory that it is unpacked to is its root.
    fn path(&self, path: &[u8], follow_last: bool) -> Result<Names> {
        let root = look(&self.upper.merged()?, self.target)?;
        match root {
            Some(root) => resolve(&root, path, follow_last),
            None => Ok(names(path)),
        }
    }

    fn parent(&mut self, path: &Names) -> Result<(Directory, Vec<u8>)> {
        let whole = [&self.target[..], &path[..]].concat();
        let Some((name, above)) = whole.split_last() else {
            return Err(Error::new(Kind::Invalid, "it is the root directory"));
        };
        Ok((self.upper.directory(above, self.new)?, name.clone()))
    }

    fn add(&mut self, entry: &Entry, archive: &mut Archive) -> Result<()> {
        let path = self.path(&entry.path, false)?;
        let owner = self.owner.unwrap_or((
            u32::try_from(entry.uid).unwrap_or(0),
            u32::try_from(entry.gid).unwrap_or(0),
        ));
        if path.is_empty() {
            return Ok(());
        }
        let (parent, name) = self.parent(&path)?;
        let context = || "cannot make it";
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return hide(&parent, hidden);
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec {
                tv_sec: entry.mtime.0,
                tv_nsec: i64::from(entry.mtime.1),
            },
        };
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        if entry.kind == EntryKind::Directory {
            if !parent.existing(&name)?.is_dir() {
                clear(&parent, &name)?;
            }
            let exists_below =
                matches!(parent.existing(&name)?, Existing::Lower(ref node) if !node.is_dir());
            let directory = if exists_below {
                rustix::fs::mkdirat(&parent.fd, name.as_slice(), Mode::from_raw_mode(0o700))
                    .context(context)?;
                self.upper.enter(&parent, &name, self.new)?.0
            } else {
                self.upper.enter(&parent, &name, self.new)?.0
            };
            give(&directory.fd, owner).context(context)?;
            for (key, value) in &entry.xattrs {
                fsetxattr(&directory.fd, key.as_slice(), value, XattrFlags::empty())
                    .context(context)?;
            }
            let whole = [&self.target[..], &path[..]].concat();
            self.directories.push((whole, entry.mode & 0o7777, times));
            return Ok(());
        }
        clear(&parent, &name)?;
        match entry.kind {
            EntryKind::File => return self.file(&parent, &name, entry, archive, owner, &times),
            EntryKind::HardLink => {
                let first = self.path(&entry.link, true)?;
                let (from, first) = self.parent(&first)?;
                if !matches!(from.existing(&first)?, Existing::Upper(_)) {
                    let link = entry.link.escape_ascii();
                    let message = format!("it is a link to `{link}`, which is not in the archive");
                    return Err(Error::new(Kind::Invalid, message));
                }
                let (old, new) = (first.as_slice(), name.as_slice());
                // What the entry says besides counts for all names of the file.
                linkat(&from.fd, old, &parent.fd, new, AtFlags::empty()).context(context)?;
            }
            EntryKind::SymbolicLink => {
                symlinkat(entry.link.as_slice(), &parent.fd, name.as_slice()).context(context)?;
            }
            EntryKind::Fifo => {
                mknodat(&parent.fd, name.as_slice(), FileType::Fifo, mode, 0).context(context)?;
            }
            EntryKind::CharacterDevice | EntryKind::BlockDevice => {
                let kind = match entry.kind {
                    EntryKind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::CharacterDevice,
                };
                let device = makedev(entry.device.0, entry.device.1);
                mknodat(&parent.fd, name.as_slice(), kind, mode, device).context(context)?;
            }
            EntryKind::Directory => {}
        }
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(&parent.fd, name.as_slice(), Some(uid), Some(gid), flags).context(context)?;
        if entry.kind != EntryKind::SymbolicLink {
            chmodat(&parent.fd, name.as_slice(), mode, AtFlags::empty()).context(context)?;
        }
        utimensat(&parent.fd, name.as_slice(), &times, flags).context(context)
    }

    fn file(
        &self,
        parent: &Directory,
        name: &[u8],
        entry: &Entry,
        archive: &mut Archive,
        owner: (u32, u32),
        times: &Timestamps,
    ) -> Result<()> {
        let context = || "cannot write it";
        // It may hide a directory of the layers.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let made = openat(&parent.fd, name, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(made.context(context)?);
        let pieces = match &entry.sparse {
            Some(sparse) => sparse.pieces.clone(),
            None => vec![(0, entry.size)],
        };
        for (offset, mut length) in pieces {
            file.seek(std::io::SeekFrom::Start(offset)).context(context)?;
            while length > 0 {
                let data = archive.data().context(|| "cannot read the archive")?;
                let taken = usize::try_from(length).map_or(data.len(), |it| it.min(data.len()));
                if taken == 0 {
                    return Err(Error::new(Kind::Invalid, "the archive is cut off"));
                }
                file.write_all(&data[..taken]).context(context)?;
                archive.consume(taken);
                length -= taken as u64;
            }
        }
        if let Some(sparse) = &entry.sparse {
            file.set_len(sparse.size).context(context)?;
        }
        give(&file, owner).context(context)?;
        for (key, value) in &entry.xattrs {
            fsetxattr(&file, key.as_slice(), value, XattrFlags::empty()).context(context)?;
        }
        fchmod(&file, Mode::from_raw_mode(entry.mode & 0o7777)).context(context)?;
        futimens(&file, times).context(context)
    }

    fn finish(self) -> Result<()> {
        for (path, mode, times) in self.directories.iter().rev() {
            let directory = self.upper.directory(path, self.new)?;
            let context = || "cannot set the mode of a directory";
            fchmod(&directory.fd, Mode::from_raw_mode(*mode)).context(context)?;
            futimens(&directory.fd, times).context(context)?;
        }
        Ok(())
    }
}

/// Removes what has a name in the upper directory.
fn clear(parent: &Directory, name: &[u8]) -> Result<()> {
    match parent.existing(name)? {
        Existing::Upper(_) => {
            use std::os::fd::AsFd;
            remove_all(parent.fd.as_fd(), name).context(|| "cannot replace what is there")
        }
        _ => Ok(()),
    }
}

/// Hides what the layers have, as overlay does.
fn hide(parent: &Directory, name: &[u8]) -> Result<()> {
    clear(parent, name)?;
    match parent.existing(name)? {
        Existing::Lower(_) => {
            mknodat(&parent.fd, name, FileType::CharacterDevice, Mode::empty(), 0)
                .context(|| "cannot hide what is there")
        }
        _ => Ok(()),
    }
}
