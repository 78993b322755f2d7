//! Directories: made on the way to what is in them, and finished when all is.

use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawMode, Timestamps, futimens, mkdirat, openat, utimensat,
};
use rustix::io::Errno;

use super::Unpacker;
use super::attributes::{Attributes, zero_time};
use super::path::split;
use super::trail::Obstacle;
use super::whiteout::is_whiteout;
use crate::error::{Context, Result};
use crate::image::recipe::Aside;
use crate::store::layer::LayerInfo;

/// What directories have before they are finished, but for the umask.
const FIRST_MODE: RawMode = 0o755;

impl Unpacker {
    /// Goes to a directory, and creates it where it is missing.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<()> {
        let context = || format!("cannot open directory `{}`", path.escape_ascii());
        while let Some(obstacle) = self.trail.go(path).context(context)? {
            self.clear_the_way(path, &obstacle)?;
        }
        Ok(())
    }

    /// Makes a directory on the way to an entry that the archive does not mention.
    fn clear_the_way(&mut self, path: &[u8], obstacle: &Obstacle) -> Result<()> {
        let path = &path[..obstacle.end];
        let (_, name) = split(path).unwrap_or_default();
        match obstacle.error {
            Errno::NOENT => {
                mkdirat(self.trail.here(), name, Mode::from_raw_mode(FIRST_MODE))
                    .context(|| "cannot create its directory")?;
            }
            // A mark that the directory of the layers below is gone; now there is a new one.
            Errno::NOTDIR
                if self.into.is_none()
                    && self.found(name)?.is_some_and(|found| is_whiteout(&found)) =>
            {
                self.directory(path, name)?;
            }
            error => {
                return Err(error).context(|| {
                    format!("`{}` is not a directory of this layer", path.escape_ascii())
                });
            }
        }
        // Whatever the umask is.
        let (uid, gid) = match &self.into {
            Some(into) => into.owners.of(0, 0)?,
            None => self.own,
        };
        let attributes = Attributes {
            uid,
            gid,
            mode: FIRST_MODE,
            times: Timestamps { last_access: zero_time(), last_modification: zero_time() },
            xattrs: Vec::new(),
        };
        self.wait(path.len())?;
        self.directories.insert(path.to_vec(), attributes);
        Ok(())
    }

    /// Makes a directory here; one that is there is fine.
    pub(super) fn directory(&mut self, path: &[u8], name: &[u8]) -> Result<()> {
        let mode = Mode::from_raw_mode(FIRST_MODE);
        match mkdirat(self.trail.here(), name, mode) {
            Err(Errno::EXIST) => {}
            other => return other.context(|| "cannot create it"),
        }
        let Some(found) = self.found(name)? else { return Ok(()) };
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Ok(());
        }
        self.clear_for_directory(name)?;
        mkdirat(self.trail.here(), name, mode).context(|| "cannot create it")?;
        if self.into.is_none() && is_whiteout(&found) {
            // Both say together: nothing of that directory's old content is left.
            self.hide_lower(path)?;
        }
        Ok(())
    }

    /// Gives directories what they would have lost while files were made in them.
    pub(super) fn finish(mut self) -> Result<(LayerInfo, Option<Aside>)> {
        self.trail.forget();
        // Those inside first: who may not enter the outer ones any more need not do so.
        for (path, attributes) in std::mem::take(&mut self.directories).into_iter().rev() {
            self.finish_directory(&path, &attributes)
                .context(|| format!("cannot finish directory `{}`", path.escape_ascii()))?;
        }
        self.info.squashed = self.squashed.get();
        if self.info.squashed {
            self.warn(
                "files of other users were given to you: you have no IDs for them".to_owned(),
            );
        }
        Ok((self.info, self.aside))
    }

    fn finish_directory(&mut self, path: &[u8], attributes: &Attributes) -> Result<()> {
        let Attributes { uid, gid, mode, times, xattrs } = attributes;
        let present = FIRST_MODE & !self.umask;
        let is_new = self.into.is_none();
        let lacks_time_only =
            is_new && (*uid, *gid, *mode) == (self.own.0, self.own.1, present) && xattrs.is_empty();
        if let Some((parent, name)) = split(path) {
            // Something else may have taken its place later in the archive.
            if self.trail.go(parent).context(|| "cannot open it")?.is_some() {
                return Ok(());
            }
            if lacks_time_only && !self.replaced {
                let here = self.trail.here();
                return utimensat(here, name, times, AtFlags::SYMLINK_NOFOLLOW)
                    .context(|| "cannot set its time");
            }
            match self.trail.step(name) {
                Ok(()) => {}
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                Err(error) => return Err(error).context(|| "cannot open it"),
            }
        } else {
            self.trail.forget();
        }
        if lacks_time_only {
            return utimensat(self.trail.here(), "", times, AtFlags::EMPTY_PATH)
                .context(|| "cannot set its time");
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            openat(self.trail.here(), ".", flags, Mode::empty()).context(|| "cannot open it")?;
        match is_new {
            true => self.set_owner_and_mode(&directory, *mode, present, (*uid, *gid))?,
            // It may be one that was there before.
            false => self.set_all(&directory, *mode, (*uid, *gid))?,
        }
        for (name, value) in xattrs {
            self.set_xattr(&directory, name, value)?;
        }
        futimens(directory.as_fd(), times).context(|| "cannot set its time")
    }
}
