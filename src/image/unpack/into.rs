//! Unpacks an archive into a directory that has files already, and that somebody may use meanwhile.
//!
//! As for a layer, links of the archive and of the directory lead nowhere but into the root. Marks of
//! layers are files like others. A directory that is there gets what the archive says of it; other
//! things give way to what has their name, but no directory to anything else, unless that is asked
//! for. A file that replaces another one takes its name when it is whole.

use std::io::{BufRead, BufReader};

use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;

use super::trail::Trail;
use super::{Destination, Leeway, Unpacker};
use crate::error::{Context, Error, Kind, Result};
use crate::image::compression::Peeked;
use crate::image::recipe::Tap;
use crate::image::tarball::{Entry, Reader};
use crate::spec::compression::Compression;
use crate::spec::userns::{IdMapping, outside_of};
use crate::sys::root::Root;

const BUFFER: usize = 256 << 10;

/// Where an archive goes that is no layer, and how.
#[derive(Debug)]
pub struct Into<'a> {
    /// What its paths lead into.
    pub root: Root,
    /// The directory below that where they begin.
    pub base: Vec<u8>,
    /// Who all files belong to; `None` if that is whom the archive names.
    pub owner: Option<(u32, u32)>,
    /// For which IDs of ours those of the archive stand; `None` if they are the same.
    pub mapping: Option<&'a IdMapping>,
    /// Whether directories and other things may take each other's place.
    pub overwrite: bool,
    /// Whether the directory itself gets what the archive says of it.
    pub itself: bool,
    /// What to say of what is no archive.
    pub no_archive: &'a str,
}

/// Whom the files of an archive belong to.
pub(super) enum Owners {
    One(u32, u32),
    Named(Option<IdMapping>),
}

/// Unpacks an archive, which may be compressed. Returns what the user should know.
pub fn unpack_into(input: impl BufRead, into: Into<'_>) -> Result<Vec<String>> {
    let failed = || "cannot read the archive";
    let peeked = Peeked::new(input).context(failed)?;
    let compression = Compression::detect(peeked.beginning());
    let plain = compression.reader(peeked).context(failed)?;
    let input = Tap::new(BufReader::with_capacity(BUFFER, plain), None);
    let trail =
        Trail::below(into.root, into.base).context(|| "cannot open the directory for it")?;
    let mut unpacker = Unpacker::along(trail, Leeway::default(), None)?;
    unpacker.into = Some(Destination {
        owners: match into.owner {
            Some((uid, gid)) => Owners::One(uid, gid),
            None => Owners::Named(into.mapping.cloned()),
        },
        overwrite: into.overwrite,
        itself: into.itself,
    });
    let mut reader = Reader::new(input);
    let mut entry = Entry::default();
    let mut is_archive = false;
    loop {
        match reader.next(&mut entry) {
            Ok(true) => is_archive = true,
            Ok(false) => break,
            Err(error) if !is_archive => {
                return Err(Error::new(Kind::Invalid, into.no_archive).caused_by(error));
            }
            Err(error) => return Err(error).context(failed),
        }
        unpacker
            .add(&mut entry, &mut reader)
            .context(|| format!("cannot unpack `{}`", entry.path.escape_ascii()))?;
    }
    let (info, _) = unpacker.finish()?;
    reader.into_input().finish(None)?;
    Ok(info.warnings)
}

impl Owners {
    /// Returns who files of these IDs belong to.
    pub(super) fn of(&self, uid: u32, gid: u32) -> Result<(u32, u32)> {
        let mapping = match self {
            Self::One(uid, gid) => return Ok((*uid, *gid)),
            Self::Named(None) => return Ok((uid, gid)),
            Self::Named(Some(mapping)) => mapping,
        };
        outside_of(&mapping.uids, uid).zip(outside_of(&mapping.gids, gid)).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("there is no user {uid} or no group {gid} there"))
                .hint("without -a=false, files are given to the container's user")
        })
    }
}

impl Unpacker {
    /// Refuses to let a directory give way to something else.
    pub(super) fn may_clear(&self, name: &[u8]) -> Result<()> {
        if self.into.as_ref().is_none_or(|into| into.overwrite) {
            return Ok(());
        }
        let found = statat(self.trail.here(), name, AtFlags::SYMLINK_NOFOLLOW);
        match found.map(|found| FileType::from_raw_mode(found.st_mode)) {
            Ok(FileType::Directory) => {
                Err(Errno::EXIST).context(|| format!("error creating \"{}\"", name.escape_ascii()))
            }
            _ => Ok(()),
        }
    }

    /// Tells whether a file replaces one that somebody may need: it takes the name when it is whole.
    pub(super) fn replaces(&self, name: &[u8]) -> Result<bool> {
        if self.into.is_none() {
            return Ok(false);
        }
        let found = self.found(name)?;
        Ok(found
            .is_some_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile))
    }

    /// Removes what is in the way of a directory.
    pub(super) fn clear_for_directory(&mut self, name: &[u8]) -> Result<()> {
        if self.into.as_ref().is_some_and(|into| !into.overwrite) {
            return Err(Errno::NOTDIR)
                .context(|| format!("error creating \"{}\"", name.escape_ascii()));
        }
        self.clear(name)
    }
}
