//! Unpacks a layer: a border between what strangers packed and this machine's files.
//!
//! The archive's paths are cleaned (`a/../b` is `b`; leading beyond the root is an error) and their
//! directories resolved by the kernel with the layer as root, so links lead nowhere else. The last
//! component is never followed. What is there already gives way, except that directories merge.
//! Whiteouts become overlay's own marks: a layer knows nothing of those below it.
//!
//! Files are most of the work: each is opened with its mode by its name in a directory that is open,
//! written, and given its time. What it has already is not set again.

mod attributes;
mod directories;
mod into;
mod path;
#[cfg(test)]
mod tests;
mod trail;
mod whiteout;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawMode, Stat, ftruncate, futimens, linkat, makedev, mknodat,
    openat, statat, symlinkat,
};
use rustix::io::{Errno, pwrite, write};

use attributes::{Attributes, current_umask, times};
pub use into::{Into, unpack_into};
use path::{clean, split};
use trail::Trail;
use whiteout::WHITEOUT;

use super::recipe::{Aside, Tap};
use super::tarball::{Entry, EntryKind, Reader};
use crate::error::{Context, Error, Kind, Result};
use crate::store::layer::LayerInfo;
use crate::sys::replacement::Replacement;
use crate::sys::root::{Root, remove_all};
use crate::sys::userns;

const MAX_WARNINGS: usize = 10;
/// Bytes of names and attributes that wait for the end of the archive: hundreds of thousands of
/// directories have less.
const MAX_WAITING: usize = 32 << 20;

/// What may be done where it cannot be done as it should.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leeway {
    /// Files that cannot be given to their owners stay ours.
    pub(crate) squash: bool,
    /// Whiteouts that cannot be overlay's stay files, as they are in the archive.
    pub(crate) plain_whiteouts: bool,
}

/// Unpacks an archive below an empty directory, and reads the stream to its end.
pub(crate) fn unpack<R: BufRead>(input: Tap<R>, diff: &Path, leeway: Leeway) -> Result<LayerInfo> {
    let mut unpacker = Unpacker::new(diff, leeway, input.aside())?;
    let mut reader = Reader::new(input);
    let mut entry = Entry::default();
    while reader.next(&mut entry).context(|| "cannot read the layer")? {
        unpacker
            .add(&mut entry, &mut reader)
            .context(|| format!("cannot unpack `{}`", entry.path.escape_ascii()))?;
    }
    let (info, aside) = unpacker.finish()?;
    reader.into_input().finish(aside)?;
    Ok(info)
}

/// Where an archive goes that is no layer, and how.
struct Destination {
    /// Who its files belong to.
    owners: into::Owners,
    /// Whether directories and other things may take each other's place.
    overwrite: bool,
    /// Whether the directory itself gets what the archive says of it.
    itself: bool,
}

struct Unpacker {
    /// The directory that the last entry was in.
    trail: Trail,
    /// Where content goes that is replaced, if it is needed again.
    aside: Option<Aside>,
    /// What directories get when all is in them.
    directories: BTreeMap<Vec<u8>, Attributes>,
    /// How large their names and attributes are.
    waiting: usize,
    /// Whether something has given way to another thing, so that there may be no such directory now.
    replaced: bool,
    /// Who files belong to if nothing is done about it.
    own: (u32, u32),
    /// Permission bits that new files do not get.
    umask: RawMode,
    initial_namespace: bool,
    leeway: Leeway,
    /// For an archive that is no layer: where it goes.
    into: Option<Destination>,
    /// Whether some file could not be given to its owner.
    squashed: Cell<bool>,
    info: LayerInfo,
}

impl Unpacker {
    fn new(diff: &Path, leeway: Leeway, aside: Option<Aside>) -> Result<Self> {
        let root = Root::open(diff).context(|| format!("cannot open {}", diff.display()))?;
        Self::along(Trail::new(root), leeway, aside)
    }

    fn along(trail: Trail, leeway: Leeway, aside: Option<Aside>) -> Result<Self> {
        Ok(Self {
            trail,
            aside,
            directories: BTreeMap::new(),
            waiting: 0,
            replaced: false,
            own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            umask: current_umask().context(|| "cannot read /proc/self/status")?,
            initial_namespace: userns::is_initial(),
            leeway,
            into: None,
            squashed: Cell::new(false),
            info: LayerInfo::default(),
        })
    }

    fn add<R: BufRead>(&mut self, entry: &mut Entry, reader: &mut Reader<Tap<R>>) -> Result<()> {
        let path = clean(&entry.path)?;
        let Some((parent, name)) = split(&path) else {
            // The root directory itself.
            let stays = self.into.as_ref().is_some_and(|into| !into.itself);
            if entry.kind == EntryKind::Directory && stays {
                return Ok(());
            }
            if entry.kind == EntryKind::Directory {
                let attributes = self.attributes(entry)?;
                self.directories.insert(Vec::new(), attributes);
                return Ok(());
            }
            return Err(Error::new(Kind::Invalid, "the root must be a directory"));
        };
        self.enter(parent)?;
        if self.into.is_none()
            && let Some(hidden) = name.strip_prefix(WHITEOUT)
        {
            return self.whiteout(name, hidden);
        }
        match entry.kind {
            EntryKind::File => self.file(name, entry, reader),
            EntryKind::Directory => {
                self.directory(&path, name)?;
                let attributes = self.attributes(entry)?;
                let xattrs = attributes.xattrs.iter().map(|(key, value)| key.len() + value.len());
                self.wait(path.len() + xattrs.sum::<usize>())?;
                self.directories.insert(path.clone(), attributes);
                Ok(())
            }
            EntryKind::SymbolicLink => {
                self.make(name, |parent| symlinkat(entry.link.as_slice(), parent, name))?;
                self.attributes_of_node(name, entry)
            }
            EntryKind::HardLink => self.hard_link(&path, name, &entry.link),
            EntryKind::Fifo => {
                let mode = Mode::from_raw_mode(entry.mode);
                self.make(name, |parent| mknodat(parent, name, FileType::Fifo, mode, 0))?;
                self.attributes_of_node(name, entry)
            }
            EntryKind::CharacterDevice => self.device(name, entry, FileType::CharacterDevice),
            EntryKind::BlockDevice => self.device(name, entry, FileType::BlockDevice),
        }
    }

    /// Notes that so many bytes are kept in memory until the end.
    fn wait(&mut self, bytes: usize) -> Result<()> {
        self.waiting += bytes;
        if self.waiting > MAX_WAITING {
            return Err(Error::new(
                Kind::Invalid,
                "the names and attributes of the layer's directories are larger than 32 MiB",
            ));
        }
        Ok(())
    }

    fn found(&self, name: &[u8]) -> Result<Option<Stat>> {
        match statat(self.trail.here(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).context(|| "cannot look at what is there"),
        }
    }

    /// Makes something here; what has its name already gives way.
    fn make<T>(
        &mut self,
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T> {
        match make(self.trail.here()) {
            Err(Errno::EXIST) => {
                self.clear(name)?;
                make(self.trail.here())
            }
            made => made,
        }
        .context(|| "cannot create it")
    }

    /// Removes what is here. Paths may lead elsewhere afterwards, so the directory is looked up anew.
    fn clear(&mut self, name: &[u8]) -> Result<()> {
        self.may_clear(name)?;
        self.replaced = true;
        if !self.move_aside(name)? {
            remove_all(self.trail.here(), name).context(|| "cannot replace what is there")?;
        }
        let path = self.trail.path().to_vec();
        self.trail.forget();
        self.enter(&path)
    }

    /// Moves aside what is here if it has content that is needed again; `false` if it has none.
    fn move_aside(&mut self, name: &[u8]) -> Result<bool> {
        if self.aside.is_none() {
            return Ok(false);
        }
        let has_content =
            self.found(name)?.is_some_and(|found| match FileType::from_raw_mode(found.st_mode) {
                FileType::RegularFile => found.st_size > 0,
                kind => kind == FileType::Directory,
            });
        if has_content {
            let path = self.real_path(name)?;
            if let Some(aside) = &mut self.aside {
                aside.take(self.trail.here(), name, path)?;
            }
        }
        Ok(has_content)
    }

    fn real_path(&self, name: &[u8]) -> Result<Vec<u8>> {
        self.trail.real_path(name).context(|| "cannot find out where a directory is")
    }

    /// Says that what the stream has next is the content of a file here.
    fn begin_content<R: BufRead>(
        &mut self,
        name: &[u8],
        reader: &mut Reader<Tap<R>>,
    ) -> Result<()> {
        if self.aside.is_some() {
            let path = self.real_path(name)?;
            reader.input().begin_content(&path);
        }
        if let Some(aside) = &mut self.aside {
            aside.count_file();
        }
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        name: &[u8],
        entry: &Entry,
        reader: &mut Reader<Tap<R>>,
    ) -> Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        if self.replaces(name)? {
            // What was there stays if this cannot be written, or nobody is left who writes it.
            let begun = Replacement::begin(self.trail.here(), mode);
            let mut file = begun.context(|| "cannot create it")?;
            self.fill(file.file(), name, entry, reader)?;
            let taken = file.take(self.trail.here(), name);
            return taken.context(|| "cannot replace what is there");
        }
        let file = self.make(name, |parent| openat(parent, name, flags, mode))?;
        self.fill(&file, name, entry, reader)
    }

    /// Writes a file that was just made.
    fn fill<R: BufRead>(
        &mut self,
        file: &OwnedFd,
        name: &[u8],
        entry: &Entry,
        reader: &mut Reader<Tap<R>>,
    ) -> Result<()> {
        if entry.size > 0 {
            self.begin_content(name, reader)?;
        }
        match &entry.sparse {
            None => copy(file, reader)?,
            Some(sparse) => {
                for (offset, length) in &sparse.pieces {
                    // The first says which file it is, the others go on with it.
                    reader.input().go_on_at(*offset);
                    copy_piece(file, reader, *offset, *length)?;
                }
                ftruncate(file, sparse.size).context(|| "cannot set its size")?;
            }
        }
        reader.input().end_content();
        self.info.size += entry.size;
        self.set_owner_and_mode(
            file,
            entry.mode,
            entry.mode & 0o777 & !self.umask,
            self.owner(entry)?,
        )?;
        for (xattr, value) in &entry.xattrs {
            self.set_xattr(file, xattr, value)?;
        }
        futimens(file, &times(entry)).context(|| "cannot set its time")
    }

    fn hard_link(&mut self, path: &[u8], name: &[u8], link: &[u8]) -> Result<()> {
        let target = clean(link)?;
        let Some((parent, target_name)) = split(&target) else {
            return Err(Error::new(Kind::Invalid, "a hard link leads to the root directory"));
        };
        if target == path {
            return Ok(());
        }
        let context = || format!("cannot link it to `{}`", link.escape_ascii());
        let here = self.trail.here();
        let linked = if parent == self.trail.path() {
            linkat(here, target_name, here, name, AtFlags::empty())
        } else {
            let parent = self.trail.directory(parent).context(context)?;
            linkat(parent, target_name, here, name, AtFlags::empty())
        };
        match linked {
            Err(Errno::EXIST) => {
                let parent = self.trail.directory(parent).context(context)?;
                let (Some(old), Ok(target)) =
                    (self.found(name)?, statat(&parent, target_name, AtFlags::SYMLINK_NOFOLLOW))
                else {
                    return Err(Errno::NOENT).context(context);
                };
                if (old.st_dev, old.st_ino) == (target.st_dev, target.st_ino) {
                    return Ok(());
                }
                self.clear(name)?;
                linkat(&parent, target_name, self.trail.here(), name, AtFlags::empty())
            }
            other => other,
        }
        .context(context)
    }

    fn device(&mut self, name: &[u8], entry: &Entry, kind: FileType) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode);
        let device = makedev(entry.device.0, entry.device.1);
        let made = match mknodat(self.trail.here(), name, kind, mode, device) {
            Err(Errno::EXIST) => {
                self.clear(name)?;
                mknodat(self.trail.here(), name, kind, mode, device)
            }
            other => other,
        };
        match made {
            // Without root's rights there are no devices. Nobody sees those of /dev: containers have
            // their own.
            Err(Errno::PERM) => {
                let path = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
                if !path.starts_with(b"dev/") {
                    self.warn(format!(
                        "device `{}` was left out: only root can make devices",
                        path.escape_ascii()
                    ));
                }
                Ok(())
            }
            Err(error) => Err(error).context(|| "cannot create it"),
            Ok(()) => self.attributes_of_node(name, entry),
        }
    }

    fn warn(&mut self, warning: String) {
        if self.info.warnings.len() < MAX_WARNINGS && !self.info.warnings.contains(&warning) {
            self.info.warnings.push(warning);
        }
    }
}

fn copy<R: BufRead>(file: &OwnedFd, reader: &mut Reader<R>) -> Result<()> {
    loop {
        let data = reader.data().context(|| "cannot read the layer")?;
        if data.is_empty() {
            return Ok(());
        }
        let written = write(file, data).context(|| "cannot write it")?;
        reader.consume(written);
    }
}

fn copy_piece<R: BufRead>(
    file: &OwnedFd,
    reader: &mut Reader<R>,
    mut offset: u64,
    mut left: u64,
) -> Result<()> {
    while left > 0 {
        let data = reader.data().context(|| "cannot read the layer")?;
        let length = usize::try_from(left).map_or(data.len(), |left| data.len().min(left));
        if length == 0 {
            return Err(Error::new(Kind::Invalid, "its data is cut off"));
        }
        let written = pwrite(file, &data[..length], offset).context(|| "cannot write it")?;
        reader.consume(written);
        offset += written as u64;
        left -= written as u64;
    }
    Ok(())
}
