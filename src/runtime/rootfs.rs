//! The container's file tree, made in its own mount namespace: nothing of it is seen on the host.
//!
//! Every target is resolved beneath the new root (`openat2` with `RESOLVE_IN_ROOT`), so a symbolic
//! link of the image leads to a place in the image, whatever it says.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxIdMapping, Mount};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::capability;
use super::options::{Bind, MS_SHARED, Options};
use super::threshold::{Owners, UserNamespace, map_owners, show_owners};
use crate::error::{Context, Error, Kind, Result};
use crate::store::driver;
use crate::sys::mount::{self, Attributes};
use crate::sys::userns::{self, IdRange};

/// As many links lead on as the kernel follows.
const MOST_LINKS: usize = 40;

/// How often the kernel is asked for a path in which somebody renames directories.
const MOST_TRIES: usize = 1000;

/// What the root directory is made of.
#[derive(Clone, Debug)]
pub enum Rootfs {
    /// Read-only layers with a writable directory above them.
    Overlay(Overlay),
    /// An existing directory, used as it is.
    Directory(PathBuf),
    /// What is mounted there already, with the owners that it is to show.
    Mounted(PathBuf),
}

/// The parts of an overlay.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// Read-only directories, the uppermost first.
    pub layers: Vec<PathBuf>,
    /// What the container changes.
    pub upper: PathBuf,
    /// Scratch space of the kernel, on the file system of `upper`.
    pub work: PathBuf,
    /// Whether changes may be lost in a crash: nothing is synced when it ends.
    pub volatile: bool,
    /// Whether overlay keeps its marks in `user.` attributes: needed in a user namespace.
    pub user_xattr: bool,
    /// A directory to mount it on, in the container's own mount namespace.
    pub mount_point: PathBuf,
}

/// What a container in another user namespace cannot make or find itself: detached mounts.
#[derive(Debug)]
pub(super) struct Trees {
    /// Its root file system.
    pub(super) root: OwnedFd,
    /// What is shown by the entries of the configuration, in their order.
    pub(super) sources: Vec<Option<Source>>,
}

/// A file system or a part of one that is yet to be put into its place.
#[derive(Debug)]
pub(super) struct Source {
    tree: OwnedFd,
    directory: bool,
}

impl Rootfs {
    /// Returns where it is mounted, in the container's own mount namespace.
    pub fn mount_point(&self) -> &Path {
        match self {
            Self::Overlay(overlay) => &overlay.mount_point,
            Self::Directory(path) | Self::Mounted(path) => path,
        }
    }

    /// Tells whether the kernel, when it unmounts the tree, first writes all that is unwritten on the
    /// disk below: also what is not the container's.
    pub fn is_synced(&self) -> bool {
        matches!(self, Self::Overlay(overlay) if !overlay.volatile)
    }

    /// Mounts the tree in this (the container's) mount namespace and opens its root.
    pub(super) fn mount(&self) -> Result<OwnedFd> {
        attach(self.tree(None)?, self.mount_point())
    }

    /// Makes the tree, detached; for another user namespace, with the owners that it shows.
    pub fn tree(&self, user: Option<&UserNamespace<'_>>) -> Result<OwnedFd> {
        match self {
            Self::Overlay(overlay) => overlay.make(user),
            Self::Directory(path) => {
                let tree = mount::clone_tree(path, true)
                    .context(|| format!("cannot use root directory {}", path.display()))?;
                if let Some(user) = user {
                    map_owners(&tree, user)?;
                }
                Ok(tree)
            }
            Self::Mounted(path) => mount::clone_tree(path, false)
                .context(|| format!("cannot use what is mounted on {}", path.display())),
        }
    }
}

/// Puts a detached tree somewhere in this mount namespace; it is then found by its descriptor.
pub(super) fn attach(tree: OwnedFd, mount_point: &Path) -> Result<OwnedFd> {
    let target = open_dir(mount_point)?;
    mount::attach(&tree, &target)
        .context(|| format!("cannot mount the root file system on {}", mount_point.display()))?;
    // The descriptor of the detached mount is now one of the attached mount.
    Ok(tree)
}

impl Overlay {
    fn make(&self, user: Option<&UserNamespace<'_>>) -> Result<OwnedFd> {
        match user {
            Some(user @ UserNamespace { owners: Owners::Mapped(uid, gid), .. }) => {
                self.make_mapped(user, (*uid, *gid))
            }
            _ => self.make_of(&self.layers, &self.upper, &self.work),
        }
    }

    /// Makes it of idmapped mounts: what is on the disk keeps the owners that it has in the image,
    /// also what the container changes.
    fn make_mapped(&self, user: &UserNamespace<'_>, owner: (u32, u32)) -> Result<OwnedFd> {
        let mut held = Vec::new();
        // Until Linux 6.15 overlay takes no layers that are mounted nowhere; here nobody sees them.
        let mut mapped = |path: &Path| -> Result<PathBuf> {
            let tree = mount::clone_tree(path, false)
                .context(|| format!("cannot use {}", path.display()))?;
            map_owners(&tree, user)?;
            mount::attach(&tree, open_dir(path)?)
                .context(|| format!("cannot mount {} on itself", path.display()))?;
            let number = std::os::fd::AsRawFd::as_raw_fd(&tree);
            held.push(tree);
            Ok(PathBuf::from(format!("/proc/self/fd/{number}")))
        };
        let layers = self.layers.iter().map(|path| mapped(path)).collect::<Result<Vec<_>>>()?;
        // Both must be on one mount.
        let parent = self.upper.parent().unwrap_or(&self.upper);
        let dir = mapped(parent)?;
        let below = |path: &Path| {
            path.strip_prefix(parent).map_or_else(|_| path.to_owned(), |path| dir.join(path))
        };
        let (upper, work) = (below(&self.upper), below(&self.work));
        // Overlay makes files of its own, as who mounts it; that must be somebody who is mapped.
        let made = capability::as_owner(owner, || self.make_of(&layers, &upper, &work));
        for tree in &held {
            // It has its own clones. The next overlay may find something below the same directories.
            mount::detach(tree).context(|| "cannot unmount a layer")?;
        }
        made
    }

    fn make_of(&self, layers: &[PathBuf], upper: &Path, work: &Path) -> Result<OwnedFd> {
        let mut options = Vec::new();
        if self.volatile {
            options.push(("volatile".to_owned(), None));
        }
        if self.user_xattr {
            options.push(("userxattr".to_owned(), None));
        } else {
            // What is changed must be in the upper directory whole, whatever this machine's defaults
            // are: images are made of it. With `userxattr` that is always so.
            for name in ["metacopy", "redirect_dir"] {
                options.push((name.to_owned(), Some("off".to_owned())));
            }
        }
        let layers: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
        mount::overlay(&layers, Some((upper, work)), &options, 0)
            .context(|| format!("cannot mount an overlay of {} layers", layers.len()))
    }
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .context(|| format!("cannot open {}", path.display()))
}

/// Opens something beneath the new root, without a way out of it.
pub(super) fn open_in(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let open = || rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
    // Somebody renamed a directory on the way, so the kernel could not be sure: who goes on doing so
    // must not keep us here.
    let is_sure = |opened: &rustix::io::Result<OwnedFd>| !matches!(opened, Err(Errno::AGAIN));
    (0..MOST_TRIES).map(|_| open()).find(is_sure).unwrap_or(Err(Errno::AGAIN))
}

/// Opens a mount point beneath the new root; what is missing of it is made.
///
/// A symbolic link on the way leads to a place in the root, also one that leads to what is missing.
pub(super) fn target(root: BorrowedFd<'_>, path: &Path, directory: bool) -> Result<OwnedFd> {
    let context = || format!("cannot make the mount point {} in the container", path.display());
    match open_in(root, path, OFlags::PATH) {
        Err(Errno::NOENT) => {}
        other => return other.context(context),
    }
    let mut waiting: Vec<OsString> = parts(path);
    let mut real = PathBuf::new();
    // What `real` leads to, once it is open.
    let mut here = None;
    let mut links = 0;
    // Mostly all is there but the last part.
    let meant: PathBuf = waiting.iter().rev().collect();
    if let Some(parent) = meant.parent()
        && !waiting.iter().any(|part| part == "..")
        && let Ok(found) = open_real(root, parent, OFlags::DIRECTORY)
    {
        waiting.truncate(1);
        parent.clone_into(&mut real);
        here = Some(found);
    }
    while let Some(name) = waiting.pop() {
        if name == ".." {
            real.pop();
            here = None;
            continue;
        }
        let parent = match here.take() {
            Some(parent) => parent,
            None => open_real(root, &real, OFlags::DIRECTORY).context(context)?,
        };
        let open = || open_real(parent.as_fd(), Path::new(&name), OFlags::empty());
        let mut found = open();
        if matches!(found, Err(Errno::NOENT)) {
            let made = if waiting.is_empty() && !directory {
                let mode = Mode::from_raw_mode(0o644);
                rustix::fs::mknodat(&parent, &name, FileType::RegularFile, mode, 0)
            } else {
                rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755))
            };
            match made {
                Ok(()) if waiting.is_empty() => {
                    real.push(name);
                    break;
                }
                Ok(()) | Err(Errno::EXIST) => found = open(),
                Err(error) => return Err(error).context(context),
            }
        }
        match found {
            Ok(found) => {
                real.push(name);
                here = Some(found);
            }
            // A symbolic link.
            Err(Errno::LOOP) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP).context(context);
                }
                let link = rustix::fs::readlinkat(&parent, &name, Vec::new()).context(context)?;
                let link = PathBuf::from(OsString::from_vec(link.into_bytes()));
                if link.is_absolute() {
                    real.clear();
                } else {
                    here = Some(parent);
                }
                waiting.extend(parts(&link));
            }
            Err(error) => return Err(error).context(context),
        }
    }
    // From the root once more: what is open may have been moved elsewhere meanwhile.
    open_real(root, &real, OFlags::empty()).context(context)
}

/// The parts of a path that mean something, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let meant = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(meant).collect()
}

/// Opens what is at a path without symbolic links beneath the root.
fn open_real(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC | flags;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// Mounts one entry of the OCI configuration. What it shows may have been made before.
pub(super) fn apply(root: BorrowedFd<'_>, entry: &Mount, made: Option<Source>) -> Result<()> {
    let words = entry.options().as_deref().unwrap_or_default();
    let asked = Options::parse(words);
    let mut options = asked.clone();
    let destination = entry.destination();
    let kind = entry.typ().as_deref().unwrap_or("bind");
    let context = || format!("cannot mount {} ({kind})", destination.display());
    if options.remount && !is_bind(entry, &options) {
        return change(root, destination, &options).context(context);
    }
    let source = match made {
        Some(source) => source,
        None => Source::of(entry, &options, None)?,
    };
    if !is_bind(entry, &options) {
        // They were set when it was made.
        options.attributes = Attributes::default();
    }
    if kind == "tmpfs" && !asked.data.iter().any(|(name, _)| name == "mode") {
        cover(root, destination, &source).context(context)?;
    }
    if options.copy_up {
        copy_up(root, destination, &source).context(context)?;
        options.attributes.set = asked.attributes.set & mount::READ_ONLY;
    }
    place(root, destination, &source.tree, source.directory, &options).context(context)
}

/// Makes the file system of an entry of the OCI configuration, mounted nowhere.
pub fn detached(entry: &Mount) -> Result<OwnedFd> {
    let options = Options::parse(entry.options().as_deref().unwrap_or_default());
    Ok(Source::of(entry, &options, None)?.tree)
}

/// Gives a mount that is there other attributes.
fn change(root: BorrowedFd<'_>, destination: &Path, options: &Options) -> Result<()> {
    let mount = open_in(root, destination, OFlags::PATH).context(|| "cannot find it")?;
    for (attributes, recursive) in [(options.attributes, false), (options.recursive, true)] {
        if attributes != Attributes::default() {
            mount::set_attributes(&mount, attributes, recursive)
                .context(|| "cannot set its attributes")?;
        }
    }
    Ok(())
}

/// Gives a new file system the mode of the directory that it is going to cover, as other runtimes do.
fn cover(root: BorrowedFd<'_>, destination: &Path, source: &Source) -> Result<()> {
    let context = || "cannot give it the mode of what it covers";
    let below = match open_in(root, destination, OFlags::PATH | OFlags::DIRECTORY) {
        // That is told when it is put there.
        Err(_) => return Ok(()),
        Ok(below) => rustix::fs::fstat(&below).context(context)?,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(&source.tree, ".", flags, Mode::empty()).context(context)?;
    match rustix::fs::fchmod(top, Mode::from_raw_mode(below.st_mode & 0o7777)) {
        // Then it is as it is.
        Err(Errno::ROFS) => Ok(()),
        other => other.context(context),
    }
}

/// Copies what a new file system is going to cover into it.
fn copy_up(root: BorrowedFd<'_>, destination: &Path, source: &Source) -> Result<()> {
    let below = match open_in(root, destination, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.context(|| "cannot open what it covers")?,
    };
    // Files are made in it before its attributes say that they cannot.
    let path = |fd: &OwnedFd| format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
    driver::copy_into(Path::new(&path(&below)), Path::new(&path(&source.tree)))
        .context(|| "cannot copy what it covers")
}

fn is_bind(entry: &Mount, options: &Options) -> bool {
    options.bind.is_some() || entry.typ().as_deref().unwrap_or("bind") == "bind"
}

impl Source {
    pub(super) fn of(
        entry: &Mount,
        options: &Options,
        user: Option<&UserNamespace<'_>>,
    ) -> Result<Self> {
        let kind = entry.typ().as_deref().unwrap_or("bind");
        let context = || format!("cannot mount {} ({kind})", entry.destination().display());
        if is_bind(entry, options) {
            let source = entry.source().as_deref().ok_or_else(|| {
                Error::new(Kind::Invalid, "a bind mount needs a source").within(context())
            })?;
            let source = Self::bound(source, options).context(context)?;
            if let Some(namespace) = own_mappings(entry).context(context)? {
                let recursive = options.idmap == Some(Bind::All);
                show_owners(&source.tree, namespace.as_fd(), recursive).context(context)?;
            } else if options.idmap.is_some() && user.is_none() {
                return Err(Error::new(Kind::Invalid, "there is nothing to map its owners by")
                    .hint("give it uidMappings and gidMappings, or the container a user namespace")
                    .within(context()));
            }
            return Ok(source);
        }
        let source = entry.source().as_deref().map(Path::to_string_lossy);
        let attributes = match options.copy_up {
            // It is filled first.
            true => options.attributes.set & !mount::READ_ONLY,
            false => options.attributes.set,
        };
        let make = |data: &[(String, Option<String>)]| {
            let name = mount::kind(kind)?;
            mount::filesystem(&name, source.as_deref(), data, attributes)
        };
        let made = match kind {
            "overlay" => match make(&split_layers(&options.data)) {
                // Before Linux 6.5, all are named at once.
                Err(error) if mount::may_lack_lists(&error) => make(&options.data),
                other => other,
            },
            _ => make(&options.data),
        };
        Self { tree: made.context(context)?, directory: true }.part(options).context(context)
    }

    /// What is at a path below a file system that was just made, if one is named.
    fn part(self, options: &Options) -> Result<Self> {
        let Some(below) = &options.subpath else { return Ok(self) };
        let failed = || format!("cannot show {} of it alone", below.display());
        let part = open_in(self.tree.as_fd(), below, OFlags::PATH).context(failed)?;
        let kind = rustix::fs::fstat(&part).context(failed)?.st_mode;
        let tree = mount::clone_at(part.as_fd(), false).map_err(|error| {
            Error::new(Kind::Unsupported, failed())
                .hint("a part of what is mounted nowhere needs Linux 6.15")
                .caused_by(error)
        })?;
        Ok(Self { tree, directory: FileType::from_raw_mode(kind) == FileType::Directory })
    }

    /// What is at a path, or at one below it that leads nowhere else.
    fn bound(source: &Path, options: &Options) -> Result<Self> {
        let recursive = options.bind == Some(Bind::All);
        let failed = || format!("cannot bind {}", source.display());
        let Some(below) = &options.subpath else {
            let tree = mount::clone_tree(source, recursive).context(failed)?;
            return Ok(Self { tree, directory: source.is_dir() });
        };
        let dir = open_dir(source)?;
        let part = open_in(dir.as_fd(), below, OFlags::PATH)
            .context(|| format!("cannot find {} in {}", below.display(), source.display()))?;
        let kind = rustix::fs::fstat(&part).context(failed)?.st_mode;
        let tree = mount::clone_at(part.as_fd(), recursive).context(failed)?;
        Ok(Self { tree, directory: FileType::from_raw_mode(kind) == FileType::Directory })
    }

    /// What a bind mount shows.
    pub(super) fn of_bind(entry: &Mount) -> Result<Self> {
        Self::of(entry, &Options::parse(entry.options().as_deref().unwrap_or_default()), None)
    }

    /// One that the launcher has.
    pub(super) fn given(tree: &OwnedFd) -> Result<Self> {
        let tree = tree.try_clone().context(|| "cannot copy a mount's descriptor")?;
        let kind = rustix::fs::fstat(&tree).context(|| "cannot look at a mount")?.st_mode;
        Ok(Self { tree, directory: FileType::from_raw_mode(kind) == FileType::Directory })
    }

    /// Makes what a container in another user namespace may not be able to: what is bound, and overlays.
    pub(super) fn prepare(entry: &Mount, user: &UserNamespace<'_>) -> Result<Option<Self>> {
        let options = Options::parse(entry.options().as_deref().unwrap_or_default());
        let context = || format!("cannot mount {}", entry.destination().display());
        if is_bind(entry, &options) {
            let source = Self::of(entry, &options, Some(user))?;
            if let (Some(which), None) = (options.idmap, entry.uid_mappings()) {
                show_owners(&source.tree, user.namespace, which == Bind::All).context(context)?;
            }
            return Ok(Some(source));
        }
        if entry.typ().as_deref() != Some("overlay") {
            return Ok(None);
        }
        let value = |name: &str| {
            options
                .data
                .iter()
                .find(|(own, _)| own == name)
                .and_then(|(_, value)| value.as_deref())
                .map(PathBuf::from)
                .unwrap_or_default()
        };
        let overlay = Overlay {
            layers: std::env::split_paths(&value("lowerdir")).collect(),
            upper: value("upperdir"),
            work: value("workdir"),
            volatile: false,
            user_xattr: options.data.iter().any(|(name, _)| name == "userxattr"),
            mount_point: PathBuf::new(),
        };
        let tree = overlay.make(Some(user)).context(context)?;
        Self { tree, directory: true }.part(&options).context(context).map(Some)
    }
}

/// Makes a user namespace of the mappings that a mount has of its own, to show owners by.
fn own_mappings(entry: &Mount) -> Result<Option<OwnedFd>> {
    let ranges = |mappings: &Option<Vec<LinuxIdMapping>>| -> Vec<IdRange> {
        let range = |it: &LinuxIdMapping| IdRange {
            inside: it.container_id(),
            outside: it.host_id(),
            count: it.size(),
        };
        mappings.iter().flatten().map(range).collect()
    };
    match (ranges(entry.uid_mappings()), ranges(entry.gid_mappings())) {
        (uids, gids) if uids.is_empty() && gids.is_empty() => Ok(None),
        (uids, gids) if uids.is_empty() || gids.is_empty() => {
            let message = "a mount has mappings of both users and groups, or of neither";
            Err(Error::new(Kind::Invalid, message))
        }
        (uids, gids) => {
            userns::make(&uids, &gids).map(Some).context(|| "cannot use its mappings of owners")
        }
    }
}

/// Tells whether an entry is a bind mount that passes mounts on to the host. It must be cloned while
/// the host's mounts are still our mounts' peers.
pub(super) fn is_shared_bind(entry: &Mount) -> bool {
    let options = Options::parse(entry.options().as_deref().unwrap_or_default());
    is_bind(entry, &options) && options.propagation == MS_SHARED
}

/// Names lower directories one at a time: one string would be too long for many.
fn split_layers(data: &[(String, Option<String>)]) -> Vec<(String, Option<String>)> {
    data.iter()
        .flat_map(|(name, value)| match (name.as_str(), value) {
            ("lowerdir", Some(value)) => value
                .split(':')
                .map(|layer| ("lowerdir+".to_owned(), Some(layer.to_owned())))
                .collect(),
            _ => vec![(name.clone(), value.clone())],
        })
        .collect()
}

fn place(
    root: BorrowedFd<'_>,
    destination: &Path,
    tree: &OwnedFd,
    directory: bool,
    options: &Options,
) -> Result<()> {
    for (attributes, recursive) in [(options.attributes, false), (options.recursive, true)] {
        if attributes != Attributes::default() {
            mount::set_attributes(tree, attributes, recursive)
                .context(|| "cannot set its attributes")?;
        }
    }
    let target = target(root, destination, directory)?;
    mount::attach(tree, &target).context(|| "cannot put it there").map_err(|error| {
        let found = rustix::fs::fstat(&target).map(|it| FileType::from_raw_mode(it.st_mode));
        match found.map(|kind| kind == FileType::Directory) {
            Ok(true) if !directory => error.hint("it is a file, and there is a directory"),
            Ok(false) if directory => error.hint("it is a directory, and there is a file"),
            _ => error,
        }
    })?;
    if options.propagation != 0 {
        let propagation = Attributes { propagation: options.propagation, ..Attributes::default() };
        mount::set_attributes(tree, propagation, options.propagation_recursive)
            .context(|| "cannot set its propagation")?;
    }
    Ok(())
}

/// Makes /etc/mtab, which old programs read, where the image has none.
pub(super) fn link_mtab(root: BorrowedFd<'_>) {
    if let Ok(etc) = open_in(root, Path::new("/etc"), OFlags::PATH | OFlags::DIRECTORY) {
        // There is one already, or nothing can be made there: so be it.
        let _as_it_is = rustix::fs::symlinkat("/proc/mounts", etc, "mtab");
    }
}

/// Hides paths: a file behind /dev/null, a directory behind an empty one.
pub(super) fn mask(root: BorrowedFd<'_>, paths: &[String]) -> Result<()> {
    let null = Null::find(root).context(|| "cannot make what files are hidden behind")?;
    for path in paths {
        let context = || format!("cannot mask {path}");
        let Some(target) = existing(root, path).context(context)? else { continue };
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&target).context(context)?.st_mode);
        let cover = if kind == FileType::Directory {
            let options = [
                ("size".to_owned(), Some("0".to_owned())),
                ("nr_inodes".to_owned(), Some("1".to_owned())),
            ];
            mount::filesystem(c"tmpfs", Some("tmpfs"), &options, mount::READ_ONLY)
        } else {
            mount::clone_at(null.file.as_fd(), false)
        };
        mount::attach(cover.context(context)?, target).context(context)?;
    }
    null.forget().context(|| "cannot unmount what files are hidden behind")
}

/// What files are hidden behind: the container's /dev/null if it surely is that, else an empty file.
///
/// An image or a volume may have a link there, to a file that must not be seen or written to
/// (CVE-2025-31133).
struct Null {
    file: OwnedFd,
    /// The file system that the empty file is in, on top of the root as long as it is cloned from:
    /// until Linux 6.15 that must be mounted.
    made: Option<OwnedFd>,
}

impl Null {
    fn find(root: BorrowedFd<'_>) -> std::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        if let Ok(file) = open_in(root, Path::new("/dev/null"), flags) {
            let found = rustix::fs::fstat(&file)?;
            let kind = FileType::from_raw_mode(found.st_mode);
            if kind == FileType::CharacterDevice && found.st_rdev == rustix::fs::makedev(1, 3) {
                return Ok(Self { file, made: None });
            }
        }
        let tmpfs = mount::filesystem(c"tmpfs", Some("tmpfs"), &[], 0)?;
        let mode = Mode::from_raw_mode(0o444);
        rustix::fs::mknodat(&tmpfs, "null", FileType::RegularFile, mode, 0)?;
        let attributes = Attributes { set: mount::READ_ONLY, ..Attributes::default() };
        mount::set_attributes(&tmpfs, attributes, false)?;
        mount::attach(&tmpfs, root)?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&tmpfs, "null", flags, Mode::empty())?;
        Ok(Self { file, made: Some(tmpfs) })
    }

    /// Lets go of what was made.
    fn forget(self) -> std::io::Result<()> {
        match self.made {
            // Not by a path in /proc: that is the container's by now.
            Some(tmpfs) => mount::detach_directory(tmpfs.as_fd()),
            None => Ok(()),
        }
    }
}

/// Makes paths read-only, with all that is mounted below them.
pub(super) fn make_read_only(root: BorrowedFd<'_>, paths: &[String]) -> Result<()> {
    for path in paths {
        let context = || format!("cannot make {path} read-only");
        let Some(target) = existing(root, path).context(context)? else { continue };
        let tree = mount::clone_at(target.as_fd(), true).context(context)?;
        let attributes = Attributes { set: mount::READ_ONLY, ..Attributes::default() };
        mount::set_attributes(&tree, attributes, true).context(context)?;
        mount::attach(tree, target).context(context)?;
    }
    Ok(())
}

fn existing(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<Option<OwnedFd>> {
    match open_in(root, Path::new(path), OFlags::PATH) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error),
    }
}
