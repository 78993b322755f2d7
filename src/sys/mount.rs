//! Mounts by descriptor: the mount API of Linux 5.2, and `mount_setattr` of 5.12.
//!
//! A file system or a clone of a tree is made detached, gets its attributes, and only then is put
//! beneath a directory that is named by a descriptor too: no path is looked up twice.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

/// Attributes of a mount, as bits of `MOUNT_ATTR_…`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Attributes to set.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
    /// Propagation as `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`; 0 leaves it.
    pub propagation: u64,
}

/// `MOUNT_ATTR_RDONLY`.
pub const READ_ONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`.
pub const NO_SUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`.
pub const NO_DEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`.
pub const NO_EXEC: u64 = 0x8;
/// `MOUNT_ATTR_NOATIME`.
pub const NO_ATIME: u64 = 0x10;
/// `MOUNT_ATTR_STRICTATIME`.
pub const STRICT_ATIME: u64 = 0x20;
/// `MOUNT_ATTR__ATIME`: all of the access time bits, to be cleared before one is set.
pub const ATIME_BITS: u64 = 0x70;
/// `MOUNT_ATTR_NODIRATIME`.
pub const NO_DIR_ATIME: u64 = 0x80;
/// `MOUNT_ATTR_NOSYMFOLLOW`, since Linux 5.14.
pub const NO_SYMFOLLOW: u64 = 0x20_0000;

/// Makes a file system of a type, detached. Options are `(name, value)`; no value means a flag.
pub fn filesystem(
    kind: &CStr,
    source: Option<&str>,
    options: &[(String, Option<String>)],
    attributes: u64,
) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|error| {
        let text = || format!("this kernel has no file system `{}`", kind.to_string_lossy());
        match error {
            rustix::io::Errno::NODEV => io::Error::new(io::ErrorKind::Unsupported, text()),
            error => error.into(),
        }
    })?;
    if let Some(source) = source {
        rustix::mount::fsconfig_set_string(context.as_fd(), "source", source)?;
    }
    for (name, value) in options {
        let set = match value {
            Some(value) => {
                rustix::mount::fsconfig_set_string(context.as_fd(), name.as_str(), value.as_str())
            }
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), name.as_str()),
        };
        set.map_err(|error| explain(&context, error.into(), name))?;
    }
    rustix::mount::fsconfig_create(context.as_fd())
        .map_err(|error| explain(&context, error.into(), ""))?;
    let flags = MountAttrFlags::from_bits_retain(u32::try_from(attributes).unwrap_or(0));
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// Adds what the kernel has to say about a failed configuration step.
fn explain(context: &OwnedFd, error: io::Error, option: &str) -> io::Error {
    let mut text = [0_u8; 256];
    let reason = match rustix::io::read(context, &mut text[..]) {
        Ok(length) => {
            let said = String::from_utf8_lossy(&text[..length]);
            // The first letter tells that it is an error.
            said.trim().trim_start_matches("e ").to_owned()
        }
        Err(_) => String::new(),
    };
    let kind = match error.raw_os_error() {
        // As NFS says it of a version that the kernel lacks.
        Some(libc::EPROTONOSUPPORT) => io::ErrorKind::Unsupported,
        _ => error.kind(),
    };
    match (reason.as_str(), option) {
        ("", "") if kind == error.kind() => error,
        ("", "") => io::Error::new(kind, error),
        ("", option) => io::Error::new(kind, format!("option `{option}`: {error}")),
        // The kernel's own words tell more than the number.
        (reason, _) => io::Error::new(kind, reason),
    }
}

/// Clones the mount at a path (and those below it, if `recursive`), detached.
pub fn clone_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    Ok(rustix::mount::open_tree(rustix::fs::CWD, path, clone_flags(recursive))?)
}

/// Clones the mount at what a descriptor refers to, detached.
pub fn clone_at(file: BorrowedFd<'_>, recursive: bool) -> io::Result<OwnedFd> {
    let flags = clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(file, c"", flags)?)
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// Changes attributes of a mount (and those below it, if `recursive`).
pub fn set_attributes(mount: impl AsFd, attributes: Attributes, recursive: bool) -> io::Result<()> {
    let args = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: 0,
    };
    change(mount.as_fd(), args, recursive)
}

/// Lets a mount that is not attached yet show owners as a user namespace maps them: what belongs to
/// its ID 0 on the disk belongs to what that stands for. With `recursive`, those below it do as well.
pub fn map_owners(mount: impl AsFd, namespace: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let args = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?,
    };
    change(mount.as_fd(), args, recursive)
}

fn change(mount: BorrowedFd<'_>, args: libc::mount_attr, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure and its size agree, and the descriptor and the string outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const args,
            size_of_val(&args),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts a detached mount on top of what `target` refers to.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount.as_fd(), c"", target.as_fd(), c"", flags)?)
}

/// Unmounts what a descriptor refers to the top of.
pub fn detach(mount: &OwnedFd) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    Ok(rustix::mount::unmount(path, UnmountFlags::DETACH)?)
}

/// Unmounts what is mounted in a directory, without a path. The working directory is the root then.
pub fn detach_directory(mount: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(mount)?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Sets the propagation of all mounts of this mount namespace.
pub fn set_propagation_of_all(propagation: u64) -> io::Result<()> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    set_attributes(&root, Attributes { propagation, ..Attributes::default() }, true)
}

/// Makes `root` the root directory of this mount namespace and lets go of the old one.
pub fn pivot_root(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(c".", c".")?;
    // The old root now lies on top of the new one.
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Writes the layers of an overlay, top first, as the options that this kernel takes.
///
/// `lowerdir+` (Linux 6.5) takes one at a time, so that hundreds fit; before, all went into one
/// string of at most a page, with colons and backslashes escaped.
pub fn lower_options(layers: &[&Path], one_by_one: bool) -> Vec<(String, Option<String>)> {
    let text = |path: &Path| String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    if one_by_one {
        return layers.iter().map(|path| ("lowerdir+".to_owned(), Some(text(path)))).collect();
    }
    let escaped: Vec<String> =
        layers.iter().map(|path| text(path).replace('\\', "\\\\").replace(':', "\\:")).collect();
    vec![("lowerdir".to_owned(), Some(escaped.join(":")))]
}

/// The longest value that fsconfig(2) takes.
const LONGEST_VALUE: usize = 255;

/// Makes an overlay, detached. `upper` is its upper and its work directory.
pub fn overlay(
    layers: &[&Path],
    upper: Option<(&Path, &Path)>,
    rest: &[(String, Option<String>)],
    attributes: u64,
) -> io::Result<OwnedFd> {
    // Paths that are too long are named by descriptors, which have short ones.
    let mut held = Vec::new();
    let mut shorten = |path: &Path| -> io::Result<PathBuf> {
        if path.as_os_str().len() <= LONGEST_VALUE {
            return Ok(path.to_owned());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
        held.push(dir);
        Ok(short)
    };
    let layers: Vec<PathBuf> = layers.iter().map(|path| shorten(path)).collect::<Result<_, _>>()?;
    let layers: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
    let mut own = Vec::new();
    if let Some((upper, work)) = upper {
        for (name, path) in [("upperdir", upper), ("workdir", work)] {
            own.push((name.to_owned(), Some(shorten(path)?.display().to_string())));
        }
    }
    let make = |layers: &[&Path], one_by_one| {
        let mut options = lower_options(layers, one_by_one);
        options.extend_from_slice(&own);
        options.extend_from_slice(rest);
        filesystem(c"overlay", Some("overlay"), &options, attributes)
    };
    // Where it cannot be, it is not tried: those kernels write that into their log.
    let listed =
        if takes_lists() { make(&layers, true) } else { Err(io::ErrorKind::InvalidInput.into()) };
    match listed {
        Err(error) if may_lack_lists(&error) => {
            let all = lower_options(&layers, false);
            let is_short =
                |it: &Option<String>| it.as_ref().is_none_or(|it| it.len() <= LONGEST_VALUE);
            if all.iter().all(|(_, value)| is_short(value)) {
                return make(&layers, false);
            }
            let mut dirs = Vec::new();
            for path in &layers {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                dirs.push(rustix::fs::open(*path, flags, Mode::empty())?);
            }
            let numbers: Vec<PathBuf> =
                dirs.iter().map(|dir| dir.as_raw_fd().to_string().into()).collect();
            let numbers: Vec<&Path> = numbers.iter().map(PathBuf::as_path).collect();
            in_directory(c"/proc/self/fd", || make(&numbers, false))
        }
        other => other,
    }
}

/// Does something with another working directory, which other threads do not have.
fn in_directory<T>(path: &CStr, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)?;
    let before = rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::chdir(path)?;
    let done = act();
    rustix::process::fchdir(before)?;
    done
}

/// Tells whether the kernel is one that takes the layers of an overlay one at a time.
fn takes_lists() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    let mut next = || numbers.next().and_then(|it| it.parse::<u32>().ok()).unwrap_or(0);
    (next(), next()) >= (6, 5)
}

/// Tells whether an overlay may have been refused because the kernel takes all layers as one value only.
/// Most of those kernels look at options when they mount, and then say no more than that something is
/// wrong with them.
pub fn may_lack_lists(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || error.to_string().contains("lowerdir+")
}

/// Converts a file system type for [`filesystem`].
pub fn kind(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(io::Error::other)
}

/// Returns where something is mounted, as we see it.
pub fn points() -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|it| unescape(it).into())
        .collect())
}

/// Returns where a process sees a file system of this number, as in `0:42`, mounted with all of it.
pub fn place_of(pid: i32, number: &str) -> Option<CString> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
    let mut places = table.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(2);
        let (found, root, place) = (fields.next()?, fields.next()?, fields.next()?);
        (found == number && root == "/").then(|| unescape(place))
    });
    CString::new(places.next_back()?).ok()
}

/// Turns the kernel's `\040` into a space, and the like.
pub fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unescapes_mount_points() {
        for (text, want) in
            [("/a\\040b", "/a b"), ("/a\\134", "/a\\"), ("/plain", "/plain"), ("/a\\9", "/a\\9")]
        {
            assert_eq!(unescape(text), want);
        }
    }
}
