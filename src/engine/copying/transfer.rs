//! Copies a file or a tree of files from one root to another, each of which somebody may change
//! meanwhile and mean harm by it.
//!
//! A directory is opened by its path below its root where no component may be a link; what is in it is
//! named by one name below its descriptor, and not followed. What was a file and is something else
//! when it is opened is an error. A file that replaces another one takes its name when it is whole:
//! nobody sees a part of it, and what was there stays if it cannot be written.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmod,
    chownat, fchmod, fchown, fsetxattr, fstat, ftruncate, futimens, linkat, mkdirat, mknodat,
    openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::spec::userns::{IdMapping, inside_of, outside_of};
use crate::sys::copy::Copier;
use crate::sys::replacement::Replacement;
use crate::sys::root::{Root, remove_all};
use crate::sys::xattrs;

/// More are not told.
const MAX_WARNINGS: usize = 10;

/// Who copies belong to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner<'a> {
    /// All to this user and group.
    One(u32, u32),
    /// To whom the IDs of the originals stand for there.
    Same {
        /// The mapping of where they are.
        from: Option<&'a IdMapping>,
        /// The mapping of where the copies go.
        to: Option<&'a IdMapping>,
    },
}

/// How files are copied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Who copies belong to.
    pub(super) owner: Owner<'a>,
    /// Whether directories and other things may take each other's place.
    pub(super) overwrite: bool,
    /// Whether they leave a container: then they get no power that they had there. What its owner had
    /// lent a program stays with the owner, and devices stay where they are.
    pub(super) leaves: bool,
}

/// What is copied: a name below a root, or what is in the root if there is none.
pub(super) struct Side {
    pub(super) root: Root,
    pub(super) name: Vec<u8>,
}

/// Copies; returns what the user should know.
pub(super) fn transfer(from: Side, to: Side, rules: Rules<'_>) -> Result<Vec<String>> {
    let mut transfer = Transfer {
        from,
        to,
        rules,
        links: HashMap::new(),
        own: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        copier: Copier::default(),
        warnings: Vec::new(),
    };
    transfer.run()?;
    Ok(transfer.warnings)
}

struct Transfer<'a> {
    from: Side,
    to: Side,
    rules: Rules<'a>,
    /// Files with several names: where the first of them went.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Who new files belong to.
    own: (u32, u32),
    copier: Copier,
    warnings: Vec<String>,
}

/// What is to be done with a directory, by its path below the names of both sides.
enum Step {
    /// Its entries.
    Enter(Vec<u8>),
    /// What it would have lost while files were made in it.
    Leave(Vec<u8>),
}

/// A directory that copies go to.
struct Target<'a> {
    directory: BorrowedFd<'a>,
    /// Whether new files get its group.
    passes_group: bool,
}

impl Transfer<'_> {
    fn run(&mut self) -> Result<()> {
        let mut steps = self.begin()?;
        while let Some(step) = steps.pop() {
            match step {
                Step::Enter(path) => self.enter(&path, &mut steps)?,
                Step::Leave(path) => {
                    let context = format!("cannot finish {}", shown(&self.to.name, &path));
                    self.leave(&path).context(|| context)?;
                }
            }
        }
        Ok(())
    }

    /// Deals with what is named itself.
    fn begin(&mut self) -> Result<Vec<Step>> {
        if self.to.name.is_empty() {
            return Ok(vec![Step::Enter(Vec::new())]);
        }
        let to = self.to.root.beneath(b"", OFlags::RDONLY | OFlags::DIRECTORY);
        let to = to.context(|| "cannot open the directory of the copy")?;
        let target = Target::of(&to).context(|| "cannot look at the directory of the copy")?;
        let name = self.to.name.clone();
        let made = if self.from.name.is_empty() {
            self.directory(&target, &name).map(|()| true)
        } else {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            self.from.root.beneath(b"", flags).context(|| "cannot open its directory").and_then(
                |from| {
                    let own = self.from.name.clone();
                    self.entry(from.as_fd(), &target, (&own, &name), b"", FileType::Unknown)
                },
            )
        };
        let context = || format!("cannot copy {}", shown(&self.from.name, b""));
        Ok(match made.context(context)? {
            true => vec![Step::Leave(Vec::new()), Step::Enter(Vec::new())],
            false => Vec::new(),
        })
    }

    fn enter(&mut self, path: &[u8], steps: &mut Vec<Step>) -> Result<()> {
        let from = match self.from.root.listing(&joined(&self.from.name, path)) {
            Ok(from) => from,
            Err(error) if has_gone(&error) => return Ok(()),
            Err(error) => {
                let context = || format!("cannot open {}", shown(&self.from.name, path));
                return Err(error).context(context);
            }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let context = || format!("cannot open {} of the copy", shown(&self.to.name, path));
        let to = self.to.root.beneath(&joined(&self.to.name, path), flags).context(context)?;
        let target = Target::of(&to).context(context)?;
        let failed = shown(&self.from.name, path);
        let context = || format!("cannot list {failed}");
        for entry in Dir::read_from(&from).context(context)? {
            let entry = entry.context(context)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let below = joined(path, name);
            let is_directory = self
                .entry(from.as_fd(), &target, (name, name), &below, entry.file_type())
                .context(|| format!("cannot copy {}", shown(&self.from.name, &below)))?;
            if is_directory {
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
        to: &Target<'_>,
        (name, new): (&[u8], &[u8]),
        path: &[u8],
        known: FileType,
    ) -> Result<bool> {
        if known == FileType::RegularFile {
            return self.file(from, to, (name, new), path).map(|()| false);
        }
        let found = match statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            other => other.context(|| "cannot look at it")?,
        };
        let kind = FileType::from_raw_mode(found.st_mode);
        match kind {
            FileType::Directory => return self.directory(to, new).map(|()| true),
            FileType::RegularFile => {
                return self.file(from, to, (name, new), path).map(|()| false);
            }
            // It means nothing without who listens.
            FileType::Socket => return Ok(false),
            FileType::CharacterDevice | FileType::BlockDevice if self.rules.leaves => {
                self.warn(format!(
                    "device {} was left out: as it is, it is copied by -a=false",
                    shown(&self.from.name, path)
                ));
                return Ok(false);
            }
            _ => {}
        }
        if found.st_nlink > 1 && self.link(to, new, &found, path)? {
            return Ok(false);
        }
        let here = to.directory;
        let made = match kind {
            FileType::Symlink => match readlinkat(from, name, Vec::new()) {
                Err(Errno::NOENT | Errno::INVAL) => return Ok(false),
                target => {
                    let target = target.context(|| "cannot read the link")?;
                    self.replace(to, new, || symlinkat(target.as_c_str(), here, new))
                }
            },
            _ => {
                let mode = Mode::from_raw_mode(found.st_mode & 0o777);
                let device = if kind == FileType::Fifo { 0 } else { found.st_rdev };
                self.replace(to, new, || mknodat(here, new, kind, mode, device))
            }
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_device(kind) => {
                self.warn(format!(
                    "device {} was left out: only root can make devices",
                    shown(&self.from.name, path)
                ));
                return Ok(false);
            }
            other => other.context(|| "cannot create the copy")?,
        }
        self.node_attributes(here, new, &found)?;
        Ok(false)
    }

    /// Gives a file that was copied already another name; `false` if it was not.
    fn link(&mut self, to: &Target<'_>, new: &[u8], found: &Stat, path: &[u8]) -> Result<bool> {
        let key = (found.st_dev, found.st_ino);
        let Some(first) = self.links.get(&key) else {
            self.links.insert(key, joined(&self.to.name, path));
            return Ok(false);
        };
        let (parent, name) = match first.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&first[..slash], &first[slash + 1..]),
            None => (&b""[..], &first[..]),
        };
        let parent = self.to.root.beneath(parent, OFlags::PATH | OFlags::DIRECTORY);
        let parent = parent.context(|| "cannot open the directory of its other name")?;
        let linked =
            self.replace(to, new, || linkat(&parent, name, to.directory, new, AtFlags::empty()));
        match linked {
            // The other name is another mount's.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => Ok(false),
            other => other.context(|| "cannot link it").map(|()| true),
        }
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: &Target<'_>,
        (name, new): (&[u8], &[u8]),
        path: &[u8],
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = match openat(from, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP) if !path.is_empty() => return Ok(()),
            other => other.context(|| "cannot open it")?,
        };
        let found = fstat(&source).context(|| "cannot look at it")?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(Error::new(Kind::Conflict, "it became something else meanwhile"));
        }
        if found.st_nlink > 1 && self.link(to, new, &found, path)? {
            return Ok(());
        }
        let here = to.directory;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fresh = flags | OFlags::CREATE | OFlags::EXCL;
        let mode = Mode::from_raw_mode(0o600);
        match openat(here, new, fresh, mode) {
            Ok(copy) => self.fill(&source, &copy, &found, to).inspect_err(|_| {
                // It is ours alone, and only a part.
                let _first_error_counts = unlinkat(here, new, AtFlags::empty());
            }),
            Err(Errno::EXIST) => {
                self.make_way(here, new).context(|| cannot_create(new))?;
                let mut copy =
                    Replacement::begin(here, mode).context(|| "cannot create the copy")?;
                self.fill(&source, copy.file(), &found, to)?;
                match copy.take(here, new) {
                    // A file that is mounted there, as those that we make for containers.
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => {
                        drop(copy);
                        self.overwrite(&source, here, new, &found)
                    }
                    other => other.context(|| "cannot replace the old file"),
                }
            }
            Err(error) => Err(error).context(|| "cannot create the copy"),
        }
    }

    /// Writes a file that was just made.
    fn fill(
        &mut self,
        source: &OwnedFd,
        copy: &OwnedFd,
        found: &Stat,
        to: &Target<'_>,
    ) -> Result<()> {
        self.copier.copy(source, copy, found).context(|| "cannot copy its data")?;
        self.attributes(source, copy, found, to.passes_group)
    }

    /// Writes to a file that cannot be replaced by another one.
    fn overwrite(
        &mut self,
        source: &OwnedFd,
        here: BorrowedFd<'_>,
        new: &[u8],
        found: &Stat,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let copy =
            openat(here, new, flags, Mode::empty()).context(|| "cannot open the old file")?;
        let old = fstat(&copy).context(|| "cannot look at the old file")?;
        if FileType::from_raw_mode(old.st_mode) != FileType::RegularFile {
            return Err(Error::new(Kind::Conflict, "it became something else meanwhile"));
        }
        ftruncate(&copy, 0).context(|| "cannot empty the old file")?;
        self.copier.copy(source, &copy, found).context(|| "cannot copy its data")?;
        self.attributes(source, &copy, found, true)
    }

    /// Makes something; what has its name already gives way.
    fn replace(
        &self,
        to: &Target<'_>,
        name: &[u8],
        make: impl Fn() -> Result<(), Errno>,
    ) -> io::Result<()> {
        match make() {
            Err(Errno::EXIST) => {
                self.make_way(to.directory, name)?;
                match unlinkat(to.directory, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
                Ok(make()?)
            }
            made => Ok(made?),
        }
    }

    /// Removes a directory that is in the way of something else, if that is allowed.
    fn make_way(&self, here: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        let found = match statat(here, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return Ok(());
        }
        if !self.rules.overwrite {
            return Err(Errno::EXIST.into());
        }
        // What is in another mount is not removed for the sake of its place.
        if found.st_dev != fstat(here)?.st_dev {
            return Err(Errno::BUSY.into());
        }
        remove_all(here, name)
    }

    /// Makes a directory; one that is there is fine.
    fn directory(&self, to: &Target<'_>, name: &[u8]) -> Result<()> {
        let make = || mkdirat(to.directory, name, Mode::from_raw_mode(0o700));
        let made = match make() {
            Err(Errno::EXIST) => {
                let found = statat(to.directory, name, AtFlags::SYMLINK_NOFOLLOW)
                    .context(|| "cannot look at what is there")?;
                if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                    return Ok(());
                }
                if self.rules.overwrite {
                    unlinkat(to.directory, name, AtFlags::empty())
                        .context(|| "cannot replace what is there")?;
                    make()
                } else {
                    Err(Errno::NOTDIR)
                }
            }
            other => other,
        };
        made.context(|| cannot_create(name))
    }

    fn owner(&self, found: &Stat) -> Result<(u32, u32)> {
        let (from, to) = match self.rules.owner {
            Owner::One(uid, gid) => return Ok((uid, gid)),
            Owner::Same { from, to } => (from, to),
        };
        let (uid, gid) = match from {
            Some(from) => {
                (inside_of(&from.uids, found.st_uid), inside_of(&from.gids, found.st_gid))
            }
            None => (found.st_uid, found.st_gid),
        };
        let Some(to) = to else { return Ok((uid, gid)) };
        outside_of(&to.uids, uid).zip(outside_of(&to.gids, gid)).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("there is no user {uid} or no group {gid} there"))
                .hint("without -a=false, files are given to the container's user")
        })
    }

    /// Returns the mode of a copy, and whether what the owner had lent it stays.
    fn mode(&self, found: &Stat, (uid, gid): (u32, u32)) -> (Mode, bool) {
        let mut bits = found.st_mode & 0o7777;
        let keeps = !self.rules.leaves || (uid, gid) == (found.st_uid, found.st_gid);
        if !keeps && FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            bits &= 0o1777;
        }
        (Mode::from_raw_mode(bits), keeps)
    }

    /// Gives a copy the owner, attributes, mode and times that it is to have.
    fn attributes(
        &mut self,
        source: &OwnedFd,
        copy: &OwnedFd,
        found: &Stat,
        always: bool,
    ) -> Result<()> {
        let owner = self.owner(found)?;
        if always || owner != self.own {
            fchown(copy, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
                .map_err(|error| cannot_give(error, owner))?;
        }
        let (mode, keeps) = self.mode(found, owner);
        // After the owner, whose change takes file capabilities and set-user-ID bits away.
        for (name, value) in xattrs::of(source).context(|| "cannot read its attributes")? {
            if !keeps && name == b"security.capability" {
                continue;
            }
            match fsetxattr(copy, name.as_slice(), &value, XattrFlags::empty()) {
                Ok(()) => {}
                // The file system has none of these, or they are not ours to set.
                Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => self.warn(format!(
                    "extended attributes `{}` were left out: not possible there",
                    name.escape_ascii()
                )),
                Err(error) => {
                    return Err(error).context(|| {
                        format!("cannot set its extended attribute `{}`", name.escape_ascii())
                    });
                }
            }
        }
        fchmod(copy, mode).context(|| "cannot set its mode")?;
        futimens(copy, &times(found)).context(|| "cannot set its time")
    }

    /// As [`attributes`](Self::attributes), for what cannot be opened.
    fn node_attributes(&self, here: BorrowedFd<'_>, name: &[u8], found: &Stat) -> Result<()> {
        let owner = self.owner(found)?;
        let ids = (Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
        chownat(here, name, ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| cannot_give(error, owner))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            // By its descriptor, which is no link whatever has the name by now; it is not opened.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let context = || "cannot set its mode";
            let node = openat(here, name, flags, Mode::empty()).context(context)?;
            let path = format!("/proc/self/fd/{}", node.as_raw_fd());
            chmod(path, self.mode(found, owner).0).context(context)?;
        }
        utimensat(here, name, &times(found), AtFlags::SYMLINK_NOFOLLOW)
            .context(|| "cannot set its time")
    }

    fn leave(&mut self, path: &[u8]) -> Result<()> {
        let from = match self.from.root.listing(&joined(&self.from.name, path)) {
            Ok(from) => from,
            Err(error) if has_gone(&error) => return Ok(()),
            Err(error) => return Err(error).context(|| "cannot open it"),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let to = self.to.root.beneath(&joined(&self.to.name, path), flags);
        let to = to.context(|| "cannot open the copy")?;
        let found = fstat(&from).context(|| "cannot look at it")?;
        // One that was there may be somebody else's.
        self.attributes(&from, &to, &found, true)
    }

    fn warn(&mut self, warning: String) {
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

impl<'a> Target<'a> {
    fn of(directory: &'a OwnedFd) -> io::Result<Self> {
        let passes_group = fstat(directory)?.st_mode & 0o2000 != 0;
        Ok(Self { directory: directory.as_fd(), passes_group })
    }
}

fn cannot_create(name: &[u8]) -> String {
    format!("error creating \"{}\"", name.escape_ascii())
}

fn cannot_give(error: Errno, (uid, gid): (u32, u32)) -> Error {
    let outer = Error::new(Kind::Unsupported, format!("cannot give it to user {uid}, group {gid}"))
        .caused_by(io::Error::from(error));
    match error {
        Errno::INVAL => outer.hint("you have no such IDs; without -a=false none are needed"),
        _ => outer,
    }
}

fn is_device(kind: FileType) -> bool {
    matches!(kind, FileType::CharacterDevice | FileType::BlockDevice)
}

/// Tells whether something is not there any more, not as it was, or no part of the tree.
fn has_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::XDEV];
    Errno::from_io_error(error).is_some_and(|error| gone.contains(&error))
}

/// Puts a path behind another one; either may be empty.
fn joined(path: &[u8], below: &[u8]) -> Vec<u8> {
    match (path, below) {
        (b"", below) => below.to_vec(),
        (path, b"") => path.to_vec(),
        (path, below) => [path, b"/", below].concat(),
    }
}

fn shown(name: &[u8], path: &[u8]) -> String {
    match joined(name, path) {
        whole if whole.is_empty() => "the directory".to_owned(),
        whole => format!("`{}`", whole.escape_ascii()),
    }
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
