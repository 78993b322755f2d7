//! Unpacks a layer: a border between what strangers packed and this machine's files.
//!
//! The archive's paths are cleaned (`a/../b` is `b`; leading beyond the root is an error) and their
//! directories resolved by the kernel with the layer as root, so links lead nowhere else. The last
//! component is never followed. What is there already gives way, except that directories merge.
//! Whiteouts become overlay's own marks: a layer knows nothing of those below it.

mod path;
#[cfg(test)]
mod tests;
mod whiteout;

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, BufRead};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawMode, Stat, Timespec, Timestamps, Uid, XattrFlags,
    chownat, fchmod, fchown, fsetxattr, ftruncate, futimens, linkat, makedev, mkdirat, mknodat,
    openat, readlink, statat, symlinkat, utimensat,
};
use rustix::io::{Errno, pwrite, write};

use path::{clean, split};
use whiteout::{WHITEOUT, is_whiteout};

use super::recipe::{Aside, Tap};
use super::tarball::{Entry, EntryKind, Reader};
use crate::error::{Context, Error, Kind, Result};
use crate::store::layer::LayerInfo;
use crate::sys::root::{Root, remove_all};
use crate::sys::userns;

/// Overlay's own attributes: an archive that could set them would choose what overlay shows.
const OVERLAY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
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

struct Unpacker {
    root: Root,
    /// The directory that the last entry was in: archives go directory by directory.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Where content goes that is replaced, if it is needed again.
    aside: Option<Aside>,
    /// What directories get when all is in them.
    directories: HashMap<Vec<u8>, Attributes>,
    /// How large their names and attributes are.
    waiting: usize,
    /// Who files belong to if nothing is done about it.
    own: (u32, u32),
    /// Permission bits that new files do not get.
    umask: RawMode,
    initial_namespace: bool,
    leeway: Leeway,
    /// Whether some file could not be given to its owner.
    squashed: Cell<bool>,
    info: LayerInfo,
}

struct Attributes {
    uid: u32,
    gid: u32,
    mode: RawMode,
    times: Timestamps,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Unpacker {
    fn new(diff: &Path, leeway: Leeway, aside: Option<Aside>) -> Result<Self> {
        let context = || format!("cannot open {}", diff.display());
        Ok(Self {
            root: Root::open(diff).context(context)?,
            parent: None,
            aside,
            directories: HashMap::new(),
            waiting: 0,
            own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            umask: current_umask().context(|| "cannot read /proc/self/status")?,
            initial_namespace: userns::is_initial(),
            leeway,
            squashed: Cell::new(false),
            info: LayerInfo::default(),
        })
    }

    fn add<R: BufRead>(&mut self, entry: &mut Entry, reader: &mut Reader<Tap<R>>) -> Result<()> {
        let path = clean(&entry.path)?;
        let Some((parent, name)) = split(&path) else {
            // The root directory itself.
            if entry.kind == EntryKind::Directory {
                let attributes = self.attributes(entry)?;
                self.directories.insert(Vec::new(), attributes);
                return Ok(());
            }
            return Err(Error::new(Kind::Invalid, "the root must be a directory"));
        };
        let known = self.directories.len();
        self.enter(parent)?;
        self.wait((self.directories.len() - known) * parent.len())?;
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
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

    /// Makes `path` the directory that [`Self::parent`] is, and creates it where it is missing.
    fn enter(&mut self, path: &[u8]) -> Result<()> {
        if self.parent.as_ref().is_some_and(|(known, _)| known == path) {
            return Ok(());
        }
        let directory = match self.root.dir(path) {
            Ok(directory) => directory,
            Err(error) if is_errno(&error, &[Errno::NOENT, Errno::NOTDIR]) => {
                self.create_parents(path)?;
                self.root.dir(path).context(|| {
                    format!("`{}` is not a directory of this layer", path.escape_ascii())
                })?
            }
            Err(error) => {
                return Err(error)
                    .context(|| format!("cannot open directory `{}`", path.escape_ascii()));
            }
        };
        self.parent = Some((path.to_vec(), directory));
        Ok(())
    }

    /// Creates the directories on the way to an entry that the archive does not mention.
    fn create_parents(&mut self, path: &[u8]) -> Result<()> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let ends: Vec<usize> = ends.chain([path.len()]).collect();
        // As a rule it is only the last one that is missing.
        let known = ends.iter().rposition(|end| self.root.dir(&path[..*end]).is_ok());
        for end in &ends[known.map_or(0, |known| known + 1)..] {
            let path = &path[..*end];
            let (parent, name) = split(path).unwrap_or_default();
            self.enter(parent)?;
            match mkdirat(self.here()?, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => {}
                // A mark that the directory of the layers below is gone; now there is a new one.
                Err(Errno::EXIST) if self.found(name)?.is_some_and(|found| is_whiteout(&found)) => {
                    self.directory(path, name)?;
                }
                Err(error) => return Err(error).context(|| "cannot create its directory"),
            }
            // Whatever the umask is.
            let attributes = Attributes {
                uid: self.own.0,
                gid: self.own.1,
                mode: 0o755,
                times: Timestamps { last_access: zero_time(), last_modification: zero_time() },
                xattrs: Vec::new(),
            };
            self.directories.insert(path.to_vec(), attributes);
        }
        Ok(())
    }

    fn here(&self) -> Result<BorrowedFd<'_>> {
        match &self.parent {
            Some((_, directory)) => Ok(directory.as_fd()),
            None => Ok(self.root.as_fd()),
        }
    }

    fn found(&self, name: &[u8]) -> Result<Option<Stat>> {
        match statat(self.here()?, name, AtFlags::SYMLINK_NOFOLLOW) {
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
        match make(self.here()?) {
            Err(Errno::EXIST) => {
                self.clear(name)?;
                make(self.here()?)
            }
            made => made,
        }
        .context(|| "cannot create it")
    }

    /// Removes what is here. Paths may lead elsewhere afterwards, so the directory is looked up anew.
    fn clear(&mut self, name: &[u8]) -> Result<()> {
        if !self.move_aside(name)? {
            remove_all(self.here()?, name).context(|| "cannot replace what is there")?;
        }
        if let Some((path, _)) = self.parent.take() {
            self.enter(&path)?;
        }
        Ok(())
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
            let here = match &self.parent {
                Some((_, directory)) => directory.as_fd(),
                None => self.root.as_fd(),
            };
            if let Some(aside) = &mut self.aside {
                aside.take(here, name, path)?;
            }
        }
        Ok(has_content)
    }

    /// Returns the path below the root, without links on the way, of what has this name here.
    fn real_path(&self, name: &[u8]) -> Result<Vec<u8>> {
        let real = |fd: BorrowedFd<'_>| readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), []);
        let context = || "cannot find out where a directory is";
        let root = real(self.root.as_fd()).context(context)?.into_bytes();
        let here = real(self.here()?).context(context)?.into_bytes();
        let below = here.strip_prefix(root.as_slice());
        let below = below.ok_or(Errno::NOENT).context(context)?;
        let mut path = below.strip_prefix(b"/").unwrap_or(below).to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Ok(path)
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
        let file = self.make(name, |parent| openat(parent, name, flags, mode))?;
        if entry.size > 0 {
            self.begin_content(name, reader)?;
        }
        match &entry.sparse {
            None => copy(&file, reader)?,
            Some(sparse) => {
                for (offset, length) in &sparse.pieces {
                    // The first says which file it is, the others go on with it.
                    reader.input().go_on_at(*offset);
                    copy_piece(&file, reader, *offset, *length)?;
                }
                ftruncate(&file, sparse.size).context(|| "cannot set its size")?;
            }
        }
        reader.input().end_content();
        self.info.size += entry.size;
        self.set_owner_and_mode(
            &file,
            entry.mode,
            entry.mode & 0o777 & !self.umask,
            self.owner(entry)?,
        )?;
        for (xattr, value) in &entry.xattrs {
            self.set_xattr(&file, xattr, value)?;
        }
        futimens(&file, &times(entry)).context(|| "cannot set its time")
    }

    fn directory(&mut self, path: &[u8], name: &[u8]) -> Result<()> {
        let mode = Mode::from_raw_mode(0o755);
        match mkdirat(self.here()?, name, mode) {
            Err(Errno::EXIST) => {}
            other => return other.context(|| "cannot create it"),
        }
        let Some(found) = self.found(name)? else { return Ok(()) };
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Ok(());
        }
        self.clear(name)?;
        mkdirat(self.here()?, name, mode).context(|| "cannot create it")?;
        if is_whiteout(&found) {
            // Both say together: nothing of that directory's old content is left.
            self.hide_lower(path)?;
        }
        Ok(())
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
        let parent = self.root.dir(parent).context(context)?;
        match linkat(&parent, target_name, self.here()?, name, AtFlags::empty()) {
            Err(Errno::EXIST) => {
                let (Some(old), Ok(target)) =
                    (self.found(name)?, statat(&parent, target_name, AtFlags::SYMLINK_NOFOLLOW))
                else {
                    return Err(Errno::NOENT).context(context);
                };
                if (old.st_dev, old.st_ino) == (target.st_dev, target.st_ino) {
                    return Ok(());
                }
                self.clear(name)?;
                linkat(&parent, target_name, self.here()?, name, AtFlags::empty())
            }
            other => other,
        }
        .context(context)
    }

    fn device(&mut self, name: &[u8], entry: &Entry, kind: FileType) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode);
        let device = makedev(entry.device.0, entry.device.1);
        let made = match mknodat(self.here()?, name, kind, mode, device) {
            Err(Errno::EXIST) => {
                self.clear(name)?;
                mknodat(self.here()?, name, kind, mode, device)
            }
            other => other,
        };
        match made {
            // Without root's rights there are no devices; containers have their own /dev.
            Err(Errno::PERM) => {
                self.warn(format!(
                    "device `{}` was left out: only root can make devices",
                    entry.path.escape_ascii()
                ));
                Ok(())
            }
            Err(error) => Err(error).context(|| "cannot create it"),
            Ok(()) => self.attributes_of_node(name, entry),
        }
    }

    fn owner(&self, entry: &Entry) -> Result<(u32, u32)> {
        // The highest number means "do not change" to the kernel.
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        match (id(entry.uid), id(entry.gid)) {
            (Some(uid), Some(gid)) => Ok((uid, gid)),
            _ => Err(Error::new(
                Kind::Invalid,
                format!("its owner {}:{} is out of range", entry.uid, entry.gid),
            )),
        }
    }

    fn attributes(&self, entry: &mut Entry) -> Result<Attributes> {
        let (uid, gid) = self.owner(entry)?;
        Ok(Attributes {
            uid,
            gid,
            mode: entry.mode,
            times: times(entry),
            xattrs: std::mem::take(&mut entry.xattrs),
        })
    }

    /// Sets owner and time of what cannot be opened for it: links, devices, pipes.
    fn attributes_of_node(&self, name: &[u8], entry: &Entry) -> Result<()> {
        let parent = self.here()?;
        let (uid, gid) = self.owner(entry)?;
        if (uid, gid) != self.own {
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            chownat(parent, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
                .or_else(|error| self.chown_failed(error, uid, gid))?;
        }
        if entry.kind != EntryKind::SymbolicLink && entry.mode & (self.umask | 0o7000) != 0 {
            // We have just made it, and nobody else is here: it is no link.
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .context(|| "cannot set its mode")?;
        }
        utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
            .context(|| "cannot set its time")
    }

    /// Sets what differs: in most images all files are root's, and have modes that the umask leaves.
    fn set_owner_and_mode(
        &self,
        file: &OwnedFd,
        mode: RawMode,
        present_mode: RawMode,
        (uid, gid): (u32, u32),
    ) -> Result<()> {
        if (uid, gid) != self.own {
            fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .or_else(|error| self.chown_failed(error, uid, gid))?;
        }
        // After the owner, whose change takes set-user-ID bits away.
        if mode != present_mode {
            fchmod(file, Mode::from_raw_mode(mode)).context(|| "cannot set its mode")?;
        }
        Ok(())
    }

    fn chown_failed(&self, error: Errno, uid: u32, gid: u32) -> Result<()> {
        if self.leeway.squash && matches!(error, Errno::INVAL | Errno::PERM) {
            self.squashed.set(true);
            return Ok(());
        }
        let outer =
            Error::new(Kind::Unsupported, format!("cannot give it to user {uid}, group {gid}"))
                .caused_by(io::Error::from(error));
        if error == Errno::INVAL && !self.initial_namespace {
            return Err(outer.hint(
                "the image has more user or group IDs than you have; let root give you a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER; or have all its files given to you: barge --storage-opt ignore_chown_errors=true pull IMAGE",
            ));
        }
        Err(outer)
    }

    fn set_xattr(&mut self, file: &OwnedFd, name: &[u8], value: &[u8]) -> Result<()> {
        if OVERLAY_XATTRS.iter().any(|prefix| name.starts_with(prefix))
            || name == b"security.selinux"
        {
            return Ok(());
        }
        match fsetxattr(file, name, value, XattrFlags::empty()) {
            Ok(()) => Ok(()),
            // The file system has none of these, or they are not ours to set.
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => {
                self.warn(format!(
                    "extended attributes `{}` were left out: not possible here",
                    name.escape_ascii()
                ));
                Ok(())
            }
            Err(error) => Err(error)
                .context(|| format!("cannot set its extended attribute `{}`", name.escape_ascii())),
        }
    }

    fn warn(&mut self, warning: String) {
        if self.info.warnings.len() < MAX_WARNINGS && !self.info.warnings.contains(&warning) {
            self.info.warnings.push(warning);
        }
    }

    /// Gives directories what they would have lost while files were made in them.
    fn finish(mut self) -> Result<(LayerInfo, Option<Aside>)> {
        self.parent = None;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        for (path, attributes) in std::mem::take(&mut self.directories) {
            let context = || format!("cannot finish directory `{}`", path.escape_ascii());
            let directory = match self.root.file(&path, flags, Mode::empty()) {
                Ok(directory) => directory,
                // Something else took its place later in the archive.
                Err(error) if is_errno(&error, &[Errno::NOENT, Errno::NOTDIR, Errno::LOOP]) => {
                    continue;
                }
                Err(error) => return Err(error).context(context),
            };
            let present = 0o755 & !self.umask;
            self.set_owner_and_mode(
                &directory,
                attributes.mode,
                present,
                (attributes.uid, attributes.gid),
            )
            .context(context)?;
            for (name, value) in &attributes.xattrs {
                self.set_xattr(&directory, name, value).context(context)?;
            }
            futimens(&directory, &attributes.times).context(context)?;
        }
        self.info.squashed = self.squashed.get();
        if self.info.squashed {
            self.warn(
                "files of other users were given to you: you have no IDs for them".to_owned(),
            );
        }
        Ok((self.info, self.aside))
    }
}

fn is_errno(error: &io::Error, errnos: &[Errno]) -> bool {
    errnos.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
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

fn zero_time() -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: 0 }
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Returns the umask of this process, which can be set and returned by one call only: other threads
/// would see the change.
fn current_umask() -> io::Result<RawMode> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    Ok(line.and_then(|value| RawMode::from_str_radix(value.trim(), 8).ok()).unwrap_or(0o777))
}
