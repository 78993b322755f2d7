//! Subvolumes of btrfs: making, copying and removing whole trees at once.
//!
//! Each call names the subvolume by an open directory and a name in it. Everybody may make
//! subvolumes, and snapshots of those that are theirs; to remove one at once takes root, or the mount
//! option `user_subvol_rm_allowed`. Who has neither can empty a subvolume and remove it by rmdir(2),
//! since Linux 4.18.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// `BTRFS_SUPER_MAGIC`.
pub const MAGIC: u32 = 0x9123_683e;

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct Arguments {
    fd: i64,
    name: [u8; 4088],
}

/// The longest file name; the rest of the field is zero.
const LONGEST_NAME: usize = 255;

// The numbers hold the size of the structure: these are `_IOW(0x94, n, …)`.
const SNAPSHOT: libc::Ioctl = 0x5000_9401;
const CREATE: libc::Ioctl = 0x5000_940e;
const DESTROY: libc::Ioctl = 0x5000_940f;

/// Tells whether a directory is on btrfs.
pub fn is_here(dir: &Path) -> io::Result<bool> {
    Ok(u32::try_from(rustix::fs::statfs(dir)?.f_type) == Ok(MAGIC))
}

/// Makes an empty subvolume at `path`.
pub fn create(path: &Path) -> io::Result<()> {
    call(path, CREATE, None)
}

/// Makes a subvolume at `path` that has all that `source`, a subvolume, has now.
pub fn snapshot(source: &Path, path: &Path) -> io::Result<()> {
    let source = open(source, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    call(path, SNAPSHOT, Some(source.as_fd()))
}

/// Removes the subvolume at `path` with all that is in it.
pub fn destroy(path: &Path) -> io::Result<()> {
    call(path, DESTROY, None)
}

fn call(path: &Path, request: libc::Ioctl, source: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = open(parent, flags, Mode::empty())?;
    let mut arguments =
        Arguments { fd: source.map_or(0, |source| i64::from(source.as_raw_fd())), name: [0; 4088] };
    match arguments.name.get_mut(..name.len()) {
        Some(place) if name.len() <= LONGEST_NAME => place.copy_from_slice(name.as_bytes()),
        _ => return Err(rustix::io::Errno::NAMETOOLONG.into()),
    }
    // SAFETY: the kernel reads as many bytes as the request's number says, which is the size of the
    // structure; that and the descriptors outlive the call.
    let result = unsafe { libc::ioctl(parent.as_raw_fd(), request, &raw const arguments) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
