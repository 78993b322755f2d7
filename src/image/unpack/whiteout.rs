//! Whiteouts: `.wh.NAME` in an archive, a device that is none in overlay's lower directories.
//!
//! Where such devices or overlay's attributes cannot be made (in a container whose own file system is
//! an overlay), they stay files if the store's driver can do with them.

use std::io;

use rustix::fs::{FileType, Mode, OFlags, Stat, XattrFlags, fsetxattr, mknodat, openat};
use rustix::io::Errno;

use super::Unpacker;
use crate::error::{Context, Error, Kind, Result};

/// What the name of a mark begins with.
pub(super) const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Files of AUFS itself, of no meaning to others.
const AUFS: &[u8] = b".wh..wh.";

impl Unpacker {
    /// Makes overlay's mark for `hidden`; `name` is how the archive calls it.
    pub(super) fn whiteout(&mut self, name: &[u8], hidden: &[u8]) -> Result<()> {
        if name == OPAQUE {
            return self.hide_lower(self.trail.path());
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::new(Kind::Invalid, "a whiteout names no file"));
        }
        match mknodat(self.trail.here(), hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            // What this layer itself has hides the same name below, but a directory would merge.
            Err(Errno::EXIST) => {
                let is_directory = self.found(hidden)?.is_some_and(|found| {
                    FileType::from_raw_mode(found.st_mode) == FileType::Directory
                });
                if is_directory {
                    let mut path = self.trail.path().to_vec();
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(hidden);
                    self.hide_lower(&path)?;
                }
                Ok(())
            }
            Err(Errno::PERM) if self.leeway.plain_whiteouts => {
                self.plain(self.trail.path(), name).context(|| "cannot create the whiteout")
            }
            other => other.context(|| "cannot create the whiteout"),
        }
    }

    /// Marks a directory: overlay shows nothing of the same directory in the layers below.
    pub(super) fn hide_lower(&self, path: &[u8]) -> Result<()> {
        let name =
            if self.initial_namespace { c"trusted.overlay.opaque" } else { c"user.overlay.opaque" };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let marked =
            self.trail.root().file(path, flags, Mode::empty()).and_then(
                |directory| match fsetxattr(&directory, name, b"y", XattrFlags::empty()) {
                    Err(Errno::PERM | Errno::OPNOTSUPP) if self.leeway.plain_whiteouts => {
                        self.plain(path, OPAQUE)
                    }
                    other => Ok(other?),
                },
            );
        marked.context(|| "cannot mark the directory as opaque")
    }

    /// Makes a whiteout as the archive has it.
    fn plain(&self, parent: &[u8], name: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(self.trail.directory(parent)?, name, flags, Mode::from_raw_mode(0o600))?;
        Ok(())
    }
}

/// Tells overlay's mark from a device.
pub(super) fn is_whiteout(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == 0
}
