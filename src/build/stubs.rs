//! What is left in a step's changes of places that were made, or hidden, only to mount something there.
//!
//! A container has more than its image's files: /proc, /etc/hosts and their like, and what `--mount` and
//! `--volume` ask for. What was made for that is no change, as long as nobody has used it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, statat, unlinkat};

use super::copy::Way;
use crate::error::{Context, Result};
use crate::image::merged::Node;
use crate::sys::root::Root;

/// Where every container has something mounted, or a link of ours.
const BOX: [&str; 8] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/run/secrets",
];
/// That link.
const LINK: &str = "/etc/mtab";
/// Directories that are copied up for what is there for a while.
const PARENTS: [&str; 3] = ["etc", "run", "dev"];

/// Removes it from a tree of changes, or of all files; `lower` are the layers below, the uppermost first.
/// Something was mounted at `targets`, too.
pub(super) fn remove(tree: &Path, lower: &[PathBuf], targets: &[String]) -> Result<()> {
    let root = Node::root(lower)?;
    let tree = Root::open(tree).context(|| format!("cannot open {}", tree.display()))?;
    for target in BOX.into_iter().chain(targets.iter().map(String::as_str)) {
        remove_way(&tree, &Way::to(root.as_ref(), target, true)?, false);
    }
    remove_way(&tree, &Way::to(root.as_ref(), LINK, false)?, true);
    Ok(())
}

/// Removes directories from a tree of changes that were copied up for that, and have nothing in them.
pub(super) fn tidy(changes: &Path, lower: &[PathBuf]) -> Result<()> {
    let Some(root) = Node::root(lower)? else { return Ok(()) };
    for name in PARENTS {
        let path = changes.join(name);
        if let Some(below) = root.child(name.as_bytes())?
            && is_same_directory(&path, &below)
        {
            // One that is not empty stays.
            drop(fs::remove_dir(&path));
        }
    }
    Ok(())
}

/// Removes what the layers lack on a way. What is in use stays: it is not empty.
///
/// The command may have put links on the way, which would lead anywhere on this machine: none is followed.
fn remove_way(tree: &Root, way: &Way, may_be_link: bool) {
    for length in (way.known + 1..=way.names.len()).rev() {
        let Some((name, above)) = way.names[..length].split_last() else { return };
        let Ok(parent) = tree.beneath(&above.join(&b'/'), OFlags::PATH | OFlags::DIRECTORY) else {
            continue;
        };
        let name = name.as_slice();
        let Ok(found) = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let flags = match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            FileType::RegularFile if found.st_size == 0 => AtFlags::empty(),
            FileType::Symlink if may_be_link => AtFlags::empty(),
            // Of all that the image has it hides nothing.
            FileType::CharacterDevice if found.st_rdev == 0 => AtFlags::empty(),
            _ => return,
        };
        if unlinkat(&parent, name, flags).is_err() {
            return;
        }
    }
}

fn is_same_directory(path: &Path, below: &Node) -> bool {
    let Ok(found) = path.symlink_metadata() else { return false };
    let stat = &below.stat;
    found.is_dir()
        && (found.mode(), found.uid(), found.gid()) == (stat.st_mode, stat.st_uid, stat.st_gid)
}
