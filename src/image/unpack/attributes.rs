//! Who files belong to, and what else they have besides content.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Gid, Mode, RawMode, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, utimensat,
};
use rustix::io::Errno;

use super::Unpacker;
use crate::error::{Context, Error, Kind, Result};
use crate::image::tarball::{Entry, EntryKind};

/// Overlay's own attributes: an archive that could set them would choose what overlay shows.
const OVERLAY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// What a directory gets when all is in it.
pub(super) struct Attributes {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: RawMode,
    pub(super) times: Timestamps,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Unpacker {
    pub(super) fn owner(&self, entry: &Entry) -> Result<(u32, u32)> {
        // The highest number means "do not change" to the kernel.
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        match (id(entry.uid), id(entry.gid)) {
            (Some(uid), Some(gid)) => match &self.into {
                Some(into) => into.owners.of(uid, gid),
                None => Ok((uid, gid)),
            },
            _ => Err(Error::new(
                Kind::Invalid,
                format!("its owner {}:{} is out of range", entry.uid, entry.gid),
            )),
        }
    }

    pub(super) fn attributes(&self, entry: &mut Entry) -> Result<Attributes> {
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
    pub(super) fn attributes_of_node(&self, name: &[u8], entry: &Entry) -> Result<()> {
        let parent = self.trail.here();
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
    pub(super) fn set_owner_and_mode(
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

    /// Sets owner and mode, whatever they are.
    pub(super) fn set_all(&self, file: &OwnedFd, mode: RawMode, ids: (u32, u32)) -> Result<()> {
        fchown(file, Some(Uid::from_raw(ids.0)), Some(Gid::from_raw(ids.1)))
            .or_else(|error| self.chown_failed(error, ids.0, ids.1))?;
        fchmod(file, Mode::from_raw_mode(mode)).context(|| "cannot set its mode")
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

    pub(super) fn set_xattr(&mut self, file: &OwnedFd, name: &[u8], value: &[u8]) -> Result<()> {
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
}

pub(super) fn zero_time() -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: 0 }
}

pub(super) fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Returns the umask of this process, which can be set and returned by one call only: other threads
/// would see the change.
pub(super) fn current_umask() -> io::Result<RawMode> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    Ok(line.and_then(|value| RawMode::from_str_radix(value.trim(), 8).ok()).unwrap_or(0o777))
}
