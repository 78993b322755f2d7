//! Project quotas: how much a directory and all below it may have.
//!
//! A directory has a project's number, which new files in it get as well; the file system counts what
//! belongs to each number. Of those, xfs has them if it is mounted with `prjquota`, and ext4 if it was
//! made for them. Only root of the machine may say who has how much (`quotactl_fd` of Linux 5.14).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// How much there may be; `None` is as much as there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Files and directories.
    pub inodes: Option<u64>,
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

/// `struct fs_disk_quota`. Blocks have 512 bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Quota {
    version: i8,
    kind: i8,
    fields: u16,
    id: u32,
    block_hard: u64,
    block_soft: u64,
    inode_hard: u64,
    inode_soft: u64,
    blocks: u64,
    inodes: u64,
    rest: [u64; 7],
}

// The numbers hold the size of the structure: `_IOR('X', 31, …)` and `_IOW('X', 32, …)`.
const GET_ATTRIBUTES: libc::Ioctl = 0x801c_581f;
const SET_ATTRIBUTES: libc::Ioctl = 0x401c_5820;
const _: () = assert!(size_of::<Attributes>() == 0x1c);
const _: () = assert!(size_of::<Quota>() == 112);

/// `FS_XFLAG_PROJINHERIT`: new files get the project's number.
const INHERITED: u32 = 0x200;

const PROJECTS: u32 = 2;
const GET_QUOTA: u32 = 0x5803;
const SET_LIMITS: u32 = 0x5804;
/// The project's kind in the structure, and which fields count.
const OF_PROJECT: i8 = 2;
const ALL_LIMITS: u16 = 0xf;

/// Returns the number of the project that a file belongs to; 0 is none.
pub fn project(file: impl AsFd) -> io::Result<u32> {
    attributes(&file).map(|found| found.project)
}

/// Puts an empty directory into a project, with all that will be made in it.
pub fn set_project(dir: impl AsFd, project: u32) -> io::Result<()> {
    let mut attributes = attributes(&dir)?;
    attributes.project = project;
    attributes.flags |= INHERITED;
    // SAFETY: the kernel reads as many bytes as the request's number says, which is the size of the
    // structure; that and the descriptor outlive the call.
    let result =
        unsafe { libc::ioctl(dir.as_fd().as_raw_fd(), SET_ATTRIBUTES, &raw const attributes) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn attributes(file: &impl AsFd) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the kernel writes as many bytes as the request's number says, which is the size of the
    // structure; any bytes are good in it.
    let result =
        unsafe { libc::ioctl(file.as_fd().as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(attributes) }
}

/// Tells whether nothing belongs to a project of the file system that a file is on, nor ever may.
pub fn is_free(file: impl AsFd, project: u32) -> io::Result<bool> {
    let mut quota = Quota::default();
    match command(file, GET_QUOTA, project, &mut quota) {
        Ok(()) => Ok(quota.block_hard | quota.inode_hard | quota.blocks | quota.inodes == 0),
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Says how much may belong to a project of the file system that a file is on.
pub fn limit(file: impl AsFd, project: u32, limits: Limits) -> io::Result<()> {
    // Zero is no limit: what is asked for has one block at least.
    let blocks = limits.bytes.map_or(0, |bytes| (bytes / 512).max(1));
    let inodes = limits.inodes.map_or(0, |inodes| inodes.max(1));
    let mut quota = Quota {
        version: 1,
        kind: OF_PROJECT,
        fields: ALL_LIMITS,
        id: project,
        block_hard: blocks,
        block_soft: blocks,
        inode_hard: inodes,
        inode_soft: inodes,
        ..Quota::default()
    };
    command(file, SET_LIMITS, project, &mut quota)
}

fn command(file: impl AsFd, command: u32, id: u32, quota: &mut Quota) -> io::Result<()> {
    // SAFETY: both commands read or write one such structure, which outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_fd().as_raw_fd(),
            command << 8 | PROJECTS,
            id,
            std::ptr::from_mut(quota),
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
