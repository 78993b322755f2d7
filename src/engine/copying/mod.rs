//! `cp`: files from and to containers, as they see them: with what is mounted in them.
//!
//! Between roots, files are copied directly ([`transfer`]). As an archive they go through the code
//! that makes and unpacks the archives of images ([`stream`]); so do those of the REST API.

mod inside;
mod spot;
mod stream;
mod transfer;

use std::io;
use std::path::Path;

use rustix::fs::{FileType, Stat, readlinkat};
use rustix::io::Errno;

use self::inside::{Inside, Purpose};
use self::spot::{Spot, Wanted};
use self::transfer::{Owner, Rules, Side, transfer};
use super::Engine;
use super::host::absolute;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::userns::outside_of;
use crate::store::events::{Action, Event};
use crate::sys::root::Root;

/// How files are copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// Whether copies belong to whom the originals do, and not to the container's user or to ours.
    pub keep_owners: bool,
    /// Whether a link that is named is followed.
    pub follow_link: bool,
    /// Whether directories and other things may take each other's place.
    pub overwrite: bool,
}

/// A file or directory of a container.
#[derive(Clone, Copy, Debug)]
pub struct ContainerPath<'a> {
    /// Name or ID of the container.
    pub name: &'a str,
    /// The path, from its working directory if it is relative.
    pub path: &'a str,
}

/// What is known of a path in a container.
#[derive(Clone, Debug)]
pub struct PathStat {
    /// The last part of the path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Type and permission bits, as the kernel has them.
    pub mode: u32,
    /// Last change: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Where a link leads to.
    pub link_target: Option<String>,
}

impl Engine {
    /// Copies from this machine into a container; returns what the user should know.
    pub fn copy_in(
        &self,
        from: &Path,
        to: ContainerPath<'_>,
        options: CopyOptions,
    ) -> Result<Vec<String>> {
        let host = host_root()?;
        let (wanted, source) = host_source(&host, from, options)?;
        let inside = self.inside(to.name, Purpose::Write)?;
        let owner = inside
            .owner(options)?
            .map_or(Owner::Same { from: None, to: inside.mapping.as_ref() }, |(uid, gid)| {
                Owner::One(uid, gid)
            });
        let rules = Rules { owner, overwrite: options.overwrite, leaves: false };
        let target = inside.target(to.path, &wanted, &source)?;
        let warnings = inside
            .write(|| transfer(side(source), target, rules))
            .map_err(|error| inside.explain(error, to.path))?;
        inside.record(Action::ExtractToDir);
        Ok(warnings)
    }

    /// Copies from a container to this machine; returns what the user should know.
    pub fn copy_out(
        &self,
        from: ContainerPath<'_>,
        to: &Path,
        options: CopyOptions,
    ) -> Result<Vec<String>> {
        let host = host_root()?;
        let inside = self.inside(from.name, Purpose::Read)?;
        let (wanted, source) = inside.source(from.path, options)?;
        let target = host_target(&host, to, &wanted, &source)?;
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let owner = match options.keep_owners {
            true => Owner::Same { from: inside.mapping.as_ref(), to: None },
            false => Owner::One(own.0, own.1),
        };
        let rules = Rules { owner, overwrite: options.overwrite, leaves: !options.keep_owners };
        let warnings = transfer(side(source), target, rules)
            .context(|| format!("cannot copy to {}", to.display()))?;
        inside.record(Action::ArchivePath);
        Ok(warnings)
    }

    /// Copies from a container to another one, or within one; returns what the user should know.
    pub fn copy_across(
        &self,
        from: ContainerPath<'_>,
        to: ContainerPath<'_>,
        options: CopyOptions,
    ) -> Result<Vec<String>> {
        let containers = self.store.containers();
        let ids = [containers.lookup(from.name)?, containers.lookup(to.name)?];
        let open = |index: usize, purpose| {
            Inside::open(self, [from.name, to.name][index], &ids[index], purpose)
        };
        let (source_side, second) = match ids[0] == ids[1] {
            true => (open(0, Purpose::Write)?, None),
            // Whoever only reads holds no lock any more.
            false => (open(0, Purpose::Read)?, Some(open(1, Purpose::Write)?)),
        };
        let target_side = second.as_ref().unwrap_or(&source_side);
        let (wanted, source) = source_side.source(from.path, options)?;
        let owner = target_side.owner(options)?.map_or(
            Owner::Same { from: source_side.mapping.as_ref(), to: target_side.mapping.as_ref() },
            |(uid, gid)| Owner::One(uid, gid),
        );
        let target = target_side.target(to.path, &wanted, &source)?;
        let rules = Rules { owner, overwrite: options.overwrite, leaves: false };
        let warnings = target_side
            .write(|| transfer(side(source), target, rules))
            .map_err(|error| target_side.explain(error, to.path))?;
        source_side.record(Action::ArchivePath);
        target_side.record(Action::ExtractToDir);
        Ok(warnings)
    }

    /// Tells what is at a path of a container.
    pub fn path_stat(&self, at: ContainerPath<'_>) -> Result<PathStat> {
        let inside = self.inside(at.name, Purpose::Read)?;
        let wanted = Wanted::of(&inside.absolute(at.path));
        let missing = |error| inside.missing(at.path, error);
        let spot = Spot::find(&inside.root, &wanted, false).map_err(missing)?;
        let stat = spot.stat.ok_or_else(|| missing(Errno::NOENT.into()))?;
        let link_target = match spot.kind() {
            Some(FileType::Symlink) => {
                let target = readlinkat(&spot.parent, spot.name.as_slice(), Vec::new());
                let target = target.map_err(|error| missing(error.into()))?;
                Some(target.to_string_lossy().into_owned())
            }
            _ => None,
        };
        Ok(PathStat {
            name: String::from_utf8_lossy(wanted.name()).into_owned(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode,
            mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            link_target,
        })
    }

    fn inside(&self, name: &str, purpose: Purpose) -> Result<Inside<'_>> {
        Inside::open(self, name, &self.store.containers().lookup(name)?, purpose)
    }
}

impl Inside<'_> {
    /// Writes down that somebody has copied from it or to it.
    fn record(&self, action: Action) {
        self.engine.record_event(Event::of_named(&self.config, &self.name, action));
    }

    /// Returns who copies into it belong to, as the machine has them; `None` if they keep their owners.
    fn owner(&self, options: CopyOptions) -> Result<Option<(u32, u32)>> {
        if options.keep_owners {
            return Ok(None);
        }
        let (uid, gid) = self.user()?;
        let Some(mapping) = &self.mapping else { return Ok(Some((uid, gid))) };
        let ids = outside_of(&mapping.uids, uid).zip(outside_of(&mapping.gids, gid));
        ids.map(Some).ok_or_else(|| {
            let name = &self.name;
            let message = format!("the user {uid}:{gid} of container {name} is not mapped");
            Error::new(Kind::Invalid, message).hint("with -a=false, owners are kept")
        })
    }

    fn source(&self, path: &str, options: CopyOptions) -> Result<(Wanted, Spot)> {
        let wanted = Wanted::of(&self.absolute(path));
        let spot = Spot::find(&self.root, &wanted, options.follow_link)
            .map_err(|error| self.missing(path, error))?;
        match spot.stat {
            Some(_) => Ok((wanted, spot)),
            None => Err(self.missing(path, Errno::NOENT.into())),
        }
    }

    fn target(&self, path: &str, wanted: &Wanted, source: &Spot) -> Result<Side> {
        let to = Wanted::of(&self.absolute(path));
        target(&self.root, &to, path, wanted, source, |error| self.missing(path, error))
    }

    fn missing(&self, path: &str, error: io::Error) -> Error {
        let message = format!("\"{path}\" could not be found on container {}", self.name);
        Error::new(kind_of(&error), message).caused_by(error)
    }

    /// Says what went wrong with a copy into it.
    fn explain(&self, error: Error, path: &str) -> Error {
        let is_read_only = is_read_only(&error);
        let error = error.within(format!("cannot copy to \"{path}\" in container {}", self.name));
        if is_read_only {
            return error.hint("what is mounted there, or all of the container, is read-only");
        }
        error
    }
}

fn is_read_only(error: &Error) -> bool {
    use std::error::Error as _;
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Errno::from_io_error(error) == Some(Errno::ROFS);
        }
        cause = error.source();
    }
    false
}

fn kind_of(error: &io::Error) -> Kind {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NOTDIR) => Kind::NotFound,
        Some(Errno::ACCESS | Errno::PERM) => Kind::Denied,
        Some(Errno::LOOP | Errno::NAMETOOLONG) => Kind::Invalid,
        _ => Kind::Internal,
    }
}

fn host_root() -> Result<Root> {
    Root::open(Path::new("/")).map(Root::with_mounts).context(|| "cannot open /")
}

/// Takes a path of this machine apart.
fn host_wanted(path: &Path) -> Result<Wanted> {
    let text = path.as_os_str().as_encoded_bytes();
    // What a slash or dot at the end says would be lost.
    let mut whole = absolute(Path::new("."))?.as_os_str().as_encoded_bytes().to_vec();
    match text.first() {
        Some(b'/') => whole.clear(),
        _ => whole.push(b'/'),
    }
    whole.extend_from_slice(text);
    Ok(Wanted::of(&whole))
}

fn host_source(root: &Root, path: &Path, options: CopyOptions) -> Result<(Wanted, Spot)> {
    let wanted = host_wanted(path)?;
    let spot =
        Spot::find(root, &wanted, options.follow_link).map_err(|error| not_on_host(path, error))?;
    match spot.stat {
        Some(_) => Ok((wanted, spot)),
        None => Err(not_on_host(path, Errno::NOENT.into())),
    }
}

fn host_target(root: &Root, path: &Path, wanted: &Wanted, source: &Spot) -> Result<Side> {
    let shown = path.display().to_string();
    target(root, &host_wanted(path)?, &shown, wanted, source, |error| not_on_host(path, error))
}

fn not_on_host(path: &Path, error: io::Error) -> Error {
    let message = format!("\"{}\" could not be found on the host", path.display());
    Error::new(kind_of(&error), message).caused_by(error)
}

/// Finds out where copies go, by what is copied and what is there.
fn target(
    root: &Root,
    to: &Wanted,
    shown: &str,
    wanted: &Wanted,
    source: &Spot,
    missing: impl Fn(io::Error) -> Error,
) -> Result<Side> {
    let spot = Spot::find(root, to, true).map_err(&missing)?;
    let refuse = |message: &str| {
        Err(Error::new(Kind::Invalid, message.to_owned()).caused_by(format!("\"{shown}\"")))
    };
    match spot.kind() {
        Some(FileType::Directory) => {
            let open = spot.open(root).context(|| format!("cannot open \"{shown}\""))?;
            let name = if wanted.is_content { Vec::new() } else { wanted.name().to_vec() };
            refuse_inside_itself(source, &open, &name)?;
            Ok(Side { root: open, name })
        }
        Some(_) if source.is_directory() => Err(Error::new(
            Kind::Invalid,
            "destination must be a directory when copying a directory",
        )),
        Some(FileType::RegularFile) => {
            let (root, name) = spot.into_root();
            Ok(Side { root, name })
        }
        Some(_) => refuse("the destination is a device or the like"),
        None if to.is_directory => Err(missing(Errno::NOENT.into())),
        None => {
            let (root, name) = spot.into_root();
            refuse_inside_itself(source, &root, &name)?;
            Ok(Side { root, name })
        }
    }
}

/// Refuses to copy a directory to a place below it, which would never end.
fn refuse_inside_itself(source: &Spot, into: &Root, name: &[u8]) -> Result<()> {
    let (true, Some(source)) = (source.is_directory(), &source.stat) else { return Ok(()) };
    let context = || "cannot look at the destination";
    let key = |stat: &Stat| (stat.st_dev, stat.st_ino);
    let mut here = into.dir(b"").context(context)?;
    let mut known = rustix::fs::fstat(&here).context(context)?;
    loop {
        if key(&known) == key(source) {
            let message =
                format!("cannot copy a directory into itself: `{}`", String::from_utf8_lossy(name));
            return Err(Error::new(Kind::Invalid, message));
        }
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        let mode = rustix::fs::Mode::empty();
        let above = rustix::fs::openat(&here, "..", flags | rustix::fs::OFlags::CLOEXEC, mode);
        here = above.context(context)?;
        let next = rustix::fs::fstat(&here).context(context)?;
        if key(&next) == key(&known) {
            return Ok(());
        }
        known = next;
    }
}

fn side(source: Spot) -> Side {
    let (root, name) = source.into_root();
    Side { root, name }
}
