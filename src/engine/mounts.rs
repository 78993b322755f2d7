//! What is mounted where the host sees it: files of images and of containers, because a user asked for
//! that. Nothing else ever is.
//!
//! ```text
//! PLACE/
//! ├── root/                where the files are seen
//! ├── empty/               below the layers of an image: an overlay has two at least
//! └── count                how often it was mounted
//! ```
//!
//! The kernel knows what is mounted, and forgets it at a reboot: a directory that is left over then
//! counts for nothing.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::store::file;
use crate::sys::mount;

/// Refuses to mount where nobody would see it: without root, a mount vanishes with the user namespace that
/// a command makes for itself. `command` is what the user has asked for.
pub(super) fn check_power(engine: &Engine, command: &str) -> Result<()> {
    if engine.host.uid == 0 {
        return Ok(());
    }
    let text = format!(
        "cannot run command \"barge {command}\" in rootless mode, must execute `barge unshare` first"
    );
    Err(Error::new(Kind::Unsupported, text))
}

/// A directory that belongs to one object, for its files to be seen in.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// Names the directory; it needs not be there.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Returns the directory itself.
    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    /// Returns where the files are seen.
    pub(super) fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// Tells whether anything is mounted there, as this process sees it.
    pub(super) fn is_mounted(&self) -> Result<bool> {
        let root = self.root();
        match rustix::fs::statx(CWD, &root, AtFlags::NO_AUTOMOUNT, StatxFlags::empty()) {
            Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error).context(|| format!("cannot look at {}", root.display())),
        }
    }

    /// Counts another request for what is mounted already.
    pub(super) fn count_up(&self) -> Result<()> {
        self.set_count(self.count()?.saturating_add(1))
    }

    /// Mounts a detached tree there.
    pub(super) fn attach(&self, tree: &OwnedFd) -> Result<()> {
        let root = self.root();
        file::create_dirs(&root, 0o755)?;
        self.set_count(1)?;
        mount::attach(tree, open_dir(&root)?)
            .context(|| format!("cannot mount it on {}", root.display()))
    }

    /// Undoes one request, or all with `force`; tells whether nothing is mounted there any more.
    pub(super) fn release(&self, force: bool) -> Result<bool> {
        let count = self.count()?;
        if count > 1 && !force {
            self.set_count(count - 1)?;
            return Ok(false);
        }
        self.unmount(UnmountFlags::NOFOLLOW)?;
        Ok(true)
    }

    /// Takes the files out of sight; who works in them keeps what is open.
    pub(super) fn discard(&self) -> Result<()> {
        self.unmount(UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
    }

    fn unmount(&self, flags: UnmountFlags) -> Result<()> {
        let root = self.root();
        let context = || format!("cannot unmount {}", root.display());
        match rustix::mount::unmount(&root, flags) {
            Ok(()) => file::remove_tree(&self.0),
            Err(Errno::BUSY) => Err(Error::new(Kind::Conflict, context())
                .caused_by(std::io::Error::from(Errno::BUSY))
                .hint(format!("a process works in it; see `fuser -vm {}`", root.display()))),
            Err(error) => Err(error).context(context),
        }
    }

    fn count(&self) -> Result<u64> {
        Ok(file::read_json(&self.0.join("count"))?.unwrap_or(1))
    }

    fn set_count(&self, count: u64) -> Result<()> {
        file::write_json_volatile(&self.0.join("count"), &count)
    }
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .context(|| format!("cannot open {}", path.display()))
}
