//! `--squash`: several layers become one.
//!
//! Files are not copied: the new layer has further names of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags, mknodat};

use super::stage::Image;
use super::{Builder, Squash};
use crate::error::{Context, Result};
use crate::image::merged::{Node, has_opaque_mark, is_whiteout};
use crate::image::upper::seal;
use crate::sys::xattrs;

impl Builder<'_> {
    /// Makes one layer of several, if that is asked for.
    pub(super) fn squash(&self, mut image: Image) -> Result<Image> {
        let first = match self.options.squash {
            Squash::None => return Ok(image),
            Squash::Added => image.base.min(image.layers.len()),
            Squash::All => 0,
        };
        if image.layers.len() <= first + 1 {
            return Ok(image);
        }
        let added: Vec<PathBuf> =
            image.layers[first..].iter().rev().map(|layer| layer.place.path()).collect();
        let lower: Vec<PathBuf> =
            image.layers[..first].iter().rev().map(|layer| layer.place.path()).collect();
        let draft = self.engine.store().layers().begin()?;
        let opaque = match self.engine.host().rootless {
            true => "user.overlay.opaque",
            false => "trusted.overlay.opaque",
        };
        let below = Node::root(&lower)?;
        merge(&added, draft.diff(), below.as_ref(), opaque)?;
        let sealed = seal(draft, &lower)?;
        image.layers.truncate(first);
        let steps = if self.options.squash == Squash::All { 0 } else { image.base_steps };
        for step in image.config.history.iter_mut().skip(steps) {
            step.empty_layer = Some(true);
        }
        image.remember(format!("squashed {} layers", added.len()), false, self.now.clone());
        image.layers.push(self.add_pending(sealed));
        Ok(image)
    }
}

/// Merges directories, the uppermost first, into one that is made already.
pub(super) fn merge(from: &[PathBuf], to: &Path, below: Option<&Node>, opaque: &str) -> Result<()> {
    let mut names: BTreeMap<OsString, Vec<PathBuf>> = BTreeMap::new();
    for directory in from {
        let context = || format!("cannot list {}", directory.display());
        for entry in fs::read_dir(directory).context(context)? {
            let entry = entry.context(context)?;
            names.entry(entry.file_name()).or_default().push(entry.path());
        }
    }
    for (name, places) in names {
        let below = match below {
            Some(node) => node.child(name.as_bytes())?,
            None => None,
        };
        one(&places, &to.join(name), below.as_ref(), opaque)?;
    }
    Ok(())
}

/// Puts what has a name in several directories, the uppermost first, into its place.
fn one(places: &[PathBuf], to: &Path, below: Option<&Node>, opaque: &str) -> Result<()> {
    let context = || format!("cannot make {}", to.display());
    let Some(first) = places.first() else { return Ok(()) };
    let stat = rustix::fs::lstat(first).context(context)?;
    if is_whiteout(&stat) {
        if below.is_some() {
            mknodat(CWD, to, FileType::CharacterDevice, Mode::empty(), 0).context(context)?;
        }
        return Ok(());
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return fs::hard_link(first, to).context(context);
    }
    let mut merged = Vec::new();
    let mut hides = false;
    for place in places {
        let stat = rustix::fs::lstat(place).context(context)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            hides = true;
            break;
        }
        merged.push(place.clone());
        let opened = fs::File::open(place).context(context)?;
        if has_opaque_mark(&opened.into()).context(context)? {
            hides = true;
            break;
        }
    }
    fs::create_dir(to).context(context)?;
    let visible = below.filter(|node| node.is_dir() && !hides);
    merge(&merged, to, visible, opaque)?;
    let found = fs::metadata(first).context(context)?;
    std::os::unix::fs::chown(to, Some(found.uid()), Some(found.gid())).context(context)?;
    crate::store::file::set_mode(to, found.mode() & 0o7777)?;
    let directory = fs::File::open(to).context(context)?;
    let source = fs::File::open(first).context(context)?;
    for (key, value) in xattrs::of(&source).context(context)? {
        rustix::fs::fsetxattr(&directory, key.as_slice(), &value, XattrFlags::empty())
            .context(context)?;
    }
    if hides && below.is_some_and(Node::is_dir) {
        rustix::fs::fsetxattr(&directory, opaque, b"y", XattrFlags::empty()).context(context)?;
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() },
    };
    rustix::fs::futimens(&directory, &times).context(context)
}
