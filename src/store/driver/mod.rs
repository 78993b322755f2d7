//! Storage drivers: how a container's root file system comes from the layers of its image.
//!
//! All drivers keep the same layers, so images need not be fetched again for another one. With
//! `overlay` nothing is made here: the layers are mounted, with a directory for the changes, when the
//! container starts. The others make a whole tree in the container's directory when it is created:
//! `vfs` by copying, `btrfs` as a snapshot of a tree that is made once for each image. A container's
//! directory tells by itself what it has, whatever driver the store has by now.

mod chains;
mod choice;
mod merge;
mod probe;
mod shift;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid, syncfs};

use super::container::{ContainerConfig, Containers};
use super::draft::Draft;
use super::{Store, file};
use crate::error::{Context, Result};
use crate::spec::digest::DiffId;
use crate::spec::id::ContainerId;
use crate::spec::storage::DriverName;
use crate::spec::userns::IdMapping;
use crate::sys::btrfs;

pub(super) use choice::{Choice, choose, recorded};
pub use shift::shift;

/// The name of a whole tree in the directory that it belongs to. On btrfs it may be a subvolume.
const TREE: &str = "root";

/// What a container's root file system is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Layers to be mounted by overlay, the uppermost first.
    Layers(Vec<PathBuf>),
    /// A directory with all files, the container's own.
    Whole(PathBuf),
}

impl Containers<'_> {
    /// Returns what a container's root file system is made of.
    pub fn tree(&self, config: &ContainerConfig) -> Tree {
        let whole = self.dir(&config.id).join(TREE);
        if whole.exists() {
            return Tree::Whole(whole);
        }
        match &config.settings.rootfs {
            Some(dir) if dir.overlay => return Tree::Layers(vec![dir.path.clone()]),
            Some(dir) => return Tree::Whole(dir.path.clone()),
            None => {}
        }
        let layers = self.store().layers();
        Tree::Layers(config.layers.iter().rev().map(|layer| layers.path(layer)).collect())
    }

    /// Makes a container's own copy of the layers of an image that it mounts, with the owners that its
    /// IDs stand for, and returns where it is. It is made once. The caller holds the container's lock.
    pub fn mounted_image(
        &self,
        id: &ContainerId,
        index: usize,
        layers: &[DiffId],
        owners: &IdMapping,
    ) -> Result<PathBuf> {
        let dir = self.dir(id).join("images");
        let copied = dir.join(index.to_string());
        if copied.exists() {
            return Ok(copied);
        }
        file::create_dirs(&dir, 0o755)?;
        let begun = dir.join(format!("{index}.new"));
        file::remove_tree(&begun)?;
        copy(self.store(), layers, &begun, &|| false)?;
        shift(&begun, owners)?;
        fs::rename(&begun, &copied)
            .context(|| format!("cannot move a file tree to {}", copied.display()))?;
        Ok(copied)
    }
}

impl Store {
    /// Returns the driver that makes the root file systems of new containers.
    pub fn driver(&self) -> DriverName {
        self.driver
    }

    /// Returns the type of the file system that the store is on, in Docker's words.
    pub fn file_system(&self) -> Result<String> {
        let found = rustix::fs::statfs(&self.root)
            .context(|| format!("cannot look at the file system of {}", self.root.display()))?;
        // The field is as wide as the machine's registers; the numbers are not.
        let magic = u32::try_from(found.f_type & 0xffff_ffff).unwrap_or(0);
        Ok(match magic {
            0xef53 => "extfs".to_owned(),
            btrfs::MAGIC => "btrfs".to_owned(),
            0x5846_5342 => "xfs".to_owned(),
            0x0102_1994 => "tmpfs".to_owned(),
            0x794c_7630 => "overlayfs".to_owned(),
            0x6969 => "nfs".to_owned(),
            0x2fc1_2fc1 => "zfs".to_owned(),
            0xf2f5_2010 => "f2fs".to_owned(),
            0x6573_5546 => "fuse".to_owned(),
            other => format!("<unknown 0x{other:x}>"),
        })
    }

    /// Makes the tree that a new container of these layers needs; `None` if it needs none.
    ///
    /// The caller has [pinned](Store::pin) the layers, and need hold no locks: it may take long. With
    /// `durable`, the files are on the disk when this returns. With `owners`, the files belong to who
    /// their owners stand for: then it needs one with every driver. When `is_given_up` says so, it ends.
    pub fn new_tree(
        &self,
        layers: &[DiffId],
        durable: bool,
        owners: Option<&IdMapping>,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Option<NewTree>> {
        // A copy that was cut off may be large.
        let begin = || self.gc_tmp().and_then(|()| self.draft_dir());
        let draft = match self.driver {
            DriverName::Overlay if owners.is_none() => return Ok(None),
            DriverName::Overlay | DriverName::Vfs => {
                let draft = begin()?;
                copy(self, layers, &draft.path().join(TREE), is_given_up)?;
                draft
            }
            DriverName::Btrfs => {
                let draft = begin()?;
                chains::snapshot(self, layers, &draft.path().join(TREE), is_given_up)?;
                draft
            }
        };
        if let Some(mapping) = owners {
            shift(&draft.path().join(TREE), mapping)?;
        }
        if durable {
            syncfs(draft.file())
                .context(|| format!("cannot write {} to the disk", self.root.display()))?;
        }
        Ok(Some(NewTree(draft)))
    }
}

/// A whole tree for a container that is about to be made.
#[derive(Debug)]
pub struct NewTree(Draft);

impl NewTree {
    /// Moves the tree to the container's directory.
    pub(super) fn place(&self, dir: &Path) -> Result<()> {
        // The rename itself reaches the disk with the container's record, which is written next.
        fs::rename(self.0.path().join(TREE), dir.join(TREE))
            .context(|| format!("cannot move a file tree to {}", dir.display()))
    }
}

/// Makes a tree of the directories of layers, the lowest first, for who has no overlay.
pub fn whole_tree(layers: &[PathBuf], tree: &Path, is_given_up: &dyn Fn() -> bool) -> Result<()> {
    file::create_dir(tree, 0o755)?;
    begin(tree)?;
    layers.iter().try_for_each(|layer| merge::apply(layer, tree, is_given_up))
}

/// Makes a tree of layers, the lowest first, by copying.
fn copy(
    store: &Store,
    layers: &[DiffId],
    tree: &Path,
    is_given_up: &dyn Fn() -> bool,
) -> Result<()> {
    let layers: Vec<PathBuf> = layers.iter().map(|layer| store.layers().path(layer)).collect();
    whole_tree(&layers, tree, is_given_up)
}

/// Copies a tree into an empty directory, with owner and mode of its root. With `owners`, the files belong
/// to who their owners stand for.
pub(super) fn copy_tree(from: &Path, to: &Path, owners: Option<&IdMapping>) -> Result<()> {
    copy_into(from, to)?;
    owners.map_or(Ok(()), |mapping| shift(to, mapping))
}

/// Copies what is in a directory into another one, with owner and mode of the directory itself.
pub fn copy_into(from: &Path, to: &Path) -> Result<()> {
    let found = rustix::fs::stat(from).context(|| format!("cannot look at {}", from.display()))?;
    merge::apply(from, to, &|| false)?;
    let (uid, gid) = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
    rustix::fs::chown(to, Some(uid), Some(gid))
        .context(|| format!("cannot change the owner of {}", to.display()))?;
    file::set_mode(to, found.st_mode & 0o7777)
}

/// Gives the root directory of a tree what it has in every container, whatever our umask is and
/// whatever the store's directory passes on.
fn begin(tree: &Path) -> Result<()> {
    let own = (rustix::process::geteuid(), rustix::process::getegid());
    rustix::fs::chown(tree, Some(own.0), Some(own.1))
        .context(|| format!("cannot change the owner of {}", tree.display()))?;
    file::set_mode(tree, 0o755)
}

/// Removes the tree in a directory at once, if it is a subvolume that we may remove like that.
/// Everything else is left to who removes files one by one.
pub(super) fn discard(dir: &Path) {
    drop(btrfs::destroy(&dir.join(TREE)));
}
