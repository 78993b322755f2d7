//! Puts a layer on top of a tree: what overlay shows of both becomes the tree's own files.
//!
//! A whiteout removes what is below it, an opaque directory all that the tree's had (as overlay marks
//! them, or as archives do); directories merge, and the layer's attributes win; everything else replaces what has its name. Data is shared
//! with the layer where the file system can (btrfs, xfs), else copied without its holes.
//!
//! Directories are looked up by their path below the root whenever they are needed, so the number of
//! open files does not depend on how deep a tree is.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RawMode, Stat, Timespec, Timestamps, Uid,
    XattrFlags, chmodat, chownat, fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr,
    fstat, futimens, linkat, mkdirat, mknodat, openat, readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::copy::Copier;
use crate::sys::root::{Root, remove_all};

/// Overlay's own attributes, as root and in a user namespace: marks, and nothing of the file.
const OVERLAY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
const OPAQUE: [&CStr; 2] = [c"trusted.overlay.opaque", c"user.overlay.opaque"];

/// What whiteouts begin with, where they could not be made as overlay has them.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE_FILE: &CStr = c".wh..wh..opq";

/// Puts the files of a layer on top of those of a tree that nobody else uses yet.
///
/// Between two files it is asked whether to go on.
pub(super) fn apply(layer: &Path, tree: &Path, is_given_up: &dyn Fn() -> bool) -> Result<()> {
    let open = |path: &Path| {
        Root::open(path).context(|| format!("cannot open directory {}", path.display()))
    };
    let mut merger = Merger {
        layer: open(layer)?,
        tree: open(tree)?,
        links: HashMap::new(),
        own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        copier: Copier::default(),
        is_given_up,
    };
    merger.run().context(|| format!("cannot copy {}", layer.display()))
}

struct Merger<'a> {
    layer: Root,
    tree: Root,
    /// Files of the layer with several names: where the first of them went, and how many there are now.
    links: HashMap<(u64, u64), (Vec<u8>, usize)>,
    /// Who new files belong to.
    own: (u32, u32),
    copier: Copier,
    is_given_up: &'a dyn Fn() -> bool,
}

/// What is to be done with a directory, by its path.
enum Step {
    /// Its entries.
    Enter(Vec<u8>),
    /// What it would have lost while files were made in it.
    Leave(Vec<u8>),
}

impl Merger<'_> {
    fn run(&mut self) -> Result<()> {
        let mut steps = vec![Step::Enter(Vec::new())];
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter(path) => {
                    let context = || format!("directory `{}`", path.escape_ascii());
                    self.enter(&path, &mut steps).context(context)?;
                }
                Step::Leave(path) => {
                    let context = || format!("directory `{}`", path.escape_ascii());
                    self.leave(&path).context(context)?;
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, path: &[u8], steps: &mut Vec<Step>) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let from = self.layer.file(path, flags, Mode::empty()).context(|| "cannot open it")?;
        let to = self.tree.file(path, flags, Mode::empty()).context(|| "cannot open the copy")?;
        if is_opaque(&from) {
            clear(&to).context(|| "cannot empty it")?;
        }
        let mut entries = Dir::read_from(&from).context(|| "cannot list it")?;
        // They are about what is below, not about what the layer has under the same name.
        for entry in &mut entries {
            let entry = entry.context(|| "cannot list it")?;
            if let Some(hidden) = entry.file_name().to_bytes().strip_prefix(WHITEOUT)
                && !matches!(hidden, b"" | b"." | b"..")
            {
                remove(to.as_fd(), hidden)
                    .context(|| format!("cannot remove `{}`", hidden.escape_ascii()))?;
            }
        }
        entries.rewind();
        for entry in entries {
            let entry = entry.context(|| "cannot list it")?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || name.starts_with(WHITEOUT) {
                continue;
            }
            if (self.is_given_up)() {
                return Err(Error::new(Kind::Unavailable, "it was interrupted"));
            }
            let mut below = path.to_vec();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(name);
            let is_dir = self
                .entry(from.as_fd(), to.as_fd(), name, &below)
                .context(|| format!("cannot copy `{}`", name.escape_ascii()))?;
            if is_dir {
                steps.push(Step::Leave(below.clone()));
                steps.push(Step::Enter(below));
            }
        }
        Ok(())
    }

    /// Deals with one entry; `true` for a directory, whose entries are yet to be dealt with.
    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> io::Result<bool> {
        let found = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind == FileType::CharacterDevice && found.st_rdev == 0 {
            return remove(to, name).map(|()| false);
        }
        if kind == FileType::Directory {
            directory(to, name)?;
            return Ok(true);
        }
        if found.st_nlink > 1 && self.link(to, name, &found)? {
            return Ok(false);
        }
        match kind {
            FileType::RegularFile => self.file(from, to, name, &found)?,
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new())?;
                replace(to, name, || symlinkat(target.as_c_str(), to, name))?;
            }
            _ => {
                let mode = Mode::from_raw_mode(found.st_mode);
                replace(to, name, || mknodat(to, name, kind, mode, found.st_rdev))?;
            }
        }
        if kind != FileType::RegularFile {
            self.node_attributes(to, name, &found)?;
        }
        if found.st_nlink > 1 {
            self.links.insert((found.st_dev, found.st_ino), (path.to_vec(), 1));
        }
        Ok(false)
    }

    /// Gives a file that was copied already another name; `false` if it was not.
    fn link(&mut self, to: BorrowedFd<'_>, name: &[u8], found: &Stat) -> io::Result<bool> {
        let MapEntry::Occupied(mut known) = self.links.entry((found.st_dev, found.st_ino)) else {
            return Ok(false);
        };
        let (path, names) = known.get_mut();
        let (parent, target) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], &path[..]),
        };
        let parent = self.tree.dir(parent)?;
        replace(to, name, || linkat(&parent, target, to, name, AtFlags::empty()))?;
        *names += 1;
        if usize::try_from(found.st_nlink) == Ok(*names) {
            known.remove();
        }
        Ok(true)
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &[u8],
        found: &Stat,
    ) -> io::Result<()> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let source = openat(from, name, flags | OFlags::RDONLY, Mode::empty())?;
        let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::from_raw_mode(0o600);
        let copy = replace(to, name, || openat(to, name, flags, mode))?;
        self.copier.copy(&source, &copy, found)?;
        self.attributes(&source, &copy, found)
    }

    /// Gives a file or a directory the owner, attributes, mode and times of another one.
    fn attributes(&self, from: &OwnedFd, to: &OwnedFd, found: &Stat) -> io::Result<()> {
        if (found.st_uid, found.st_gid) != self.own {
            fchown(to, Some(Uid::from_raw(found.st_uid)), Some(Gid::from_raw(found.st_gid)))?;
        }
        // After the owner, whose change takes file capabilities and set-user-ID bits away.
        copy_xattrs(from, to)?;
        fchmod(to, permissions(found))?;
        Ok(futimens(to, &times(found))?)
    }

    /// As [`attributes`](Self::attributes), for what cannot be opened. Links and devices come without
    /// extended attributes from every archive.
    fn node_attributes(&self, to: BorrowedFd<'_>, name: &[u8], found: &Stat) -> io::Result<()> {
        if (found.st_uid, found.st_gid) != self.own {
            let owner = (Some(Uid::from_raw(found.st_uid)), Some(Gid::from_raw(found.st_gid)));
            chownat(to, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            // We have just made it, and nobody else is here: it is no link.
            chmodat(to, name, permissions(found), AtFlags::empty())?;
        }
        Ok(utimensat(to, name, &times(found), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn leave(&self, path: &[u8]) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let from = self.layer.file(path, flags, Mode::empty()).context(|| "cannot open it")?;
        let to = self.tree.file(path, flags, Mode::empty()).context(|| "cannot open the copy")?;
        let found = fstat(&from).context(|| "cannot look at it")?;
        let there = fstat(&to).context(|| "cannot look at the copy")?;
        if (there.st_uid, there.st_gid) != (found.st_uid, found.st_gid) {
            // One of a layer below may be somebody else's.
            let owner = (Some(Uid::from_raw(found.st_uid)), Some(Gid::from_raw(found.st_gid)));
            fchown(&to, owner.0, owner.1).context(|| "cannot set its owner")?;
        }
        remove_xattrs(&from, &to)
            .and_then(|()| copy_xattrs(&from, &to))
            .context(|| "cannot set its extended attributes")?;
        fchmod(&to, permissions(&found)).context(|| "cannot set its mode")?;
        futimens(&to, &times(&found)).context(|| "cannot set its time")
    }
}

/// Makes something; what has its name already gives way.
fn replace<T>(
    to: BorrowedFd<'_>,
    name: &[u8],
    make: impl Fn() -> Result<T, Errno>,
) -> io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            remove_all(to, name)?;
            Ok(make()?)
        }
        made => Ok(made?),
    }
}

/// Makes a directory, or takes the one that is there, in a state that leaves nothing to what is made
/// in it: neither group nor access list.
fn directory(to: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o700);
    match mkdirat(to, name, mode) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let found = statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        remove_all(to, name)?;
        return Ok(mkdirat(to, name, mode)?);
    }
    chmodat(to, name, mode, AtFlags::empty())?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = openat(to, name, flags, Mode::empty())?;
    match fremovexattr(&open, c"system.posix_acl_default") {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes what a whiteout hides. There may be nothing.
fn remove(to: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match remove_all(to, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes all that is in a directory.
fn clear(dir: &OwnedFd) -> io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            remove_all(dir.as_fd(), name)?;
        }
    }
    Ok(())
}

fn is_opaque(dir: &OwnedFd) -> bool {
    if statat(dir, OPAQUE_FILE, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return true;
    }
    let mut value = [0; 4];
    // What cannot be read is not there: only our unpacker sets these.
    OPAQUE.iter().any(|name| fgetxattr(dir, *name, &mut value) == Ok(1) && value[0] == b'y')
}

/// Lists the extended attributes of a file that are its own.
fn xattrs(file: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut list = vec![0_u8; 1024];
    let length = loop {
        match flistxattr(file, &mut list) {
            Ok(length) => break length,
            Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
    };
    Ok(list[..length]
        .split(|byte| *byte == 0)
        // The kernel labels files itself.
        .filter(|name| !name.is_empty() && *name != b"security.selinux")
        .filter(|name| !OVERLAY_XATTRS.iter().any(|prefix| name.starts_with(prefix)))
        .map(<[u8]>::to_vec)
        .collect())
}

fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    for name in xattrs(from)? {
        let mut value = vec![0_u8; 1024];
        let length = loop {
            match fgetxattr(from, name.as_slice(), &mut value) {
                Ok(length) => break length,
                Err(Errno::RANGE) => value.resize(value.len() * 4, 0),
                Err(error) => return Err(error.into()),
            }
        };
        fsetxattr(to, name.as_slice(), &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

/// Removes the attributes that the file of a layer below has left.
fn remove_xattrs(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let old = xattrs(to)?;
    if old.is_empty() {
        return Ok(());
    }
    let kept = xattrs(from)?;
    for name in old.iter().filter(|name| !kept.contains(name)) {
        fremovexattr(to, name.as_slice())?;
    }
    Ok(())
}

fn permissions(found: &Stat) -> Mode {
    let bits: RawMode = found.st_mode & 0o7777;
    Mode::from_raw_mode(bits)
}

fn times(found: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        // Below 1 000 000 000.
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec),
        last_modification: time(found.st_mtime, found.st_mtime_nsec),
    }
}
