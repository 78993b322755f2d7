//! Gives the files of a tree that nobody uses yet to who their owners stand for in a container.

use std::collections::HashSet;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, XattrFlags, chmodat, chownat, fgetxattr,
    fsetxattr, statat,
};
use rustix::io::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::spec::userns::{IdMapping, outside_of};
use crate::sys::root::Root;

/// Capabilities of a file.
const CAPABILITY: &str = "security.capability";

/// Changes all owners in a tree. An owner that stands for nobody is an error.
pub fn shift(tree: &Path, mapping: &IdMapping) -> Result<()> {
    let root = Root::open(tree).context(|| format!("cannot open directory {}", tree.display()))?;
    let mut seen = HashSet::new();
    change(&root, b".", mapping, &mut seen)?;
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let context = || format!("cannot list `{}`", path.escape_ascii());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = root.file(&path, flags, Mode::empty()).context(context)?;
        for entry in Dir::read_from(&dir).context(context)? {
            let entry = entry.context(context)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let mut below = path.clone();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(name);
            if change(&root, &below, mapping, &mut seen)? {
                waiting.push(below);
            }
        }
    }
    Ok(())
}

/// Changes the owner of one file; `true` for a directory.
fn change(
    root: &Root,
    path: &[u8],
    mapping: &IdMapping,
    seen: &mut HashSet<(u64, u64)>,
) -> Result<bool> {
    let context = || format!("cannot change the owner of `{}`", path.escape_ascii());
    let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(end) => (&path[..end], &path[end + 1..]),
        None => (&b""[..], path),
    };
    let dir = root.dir(parent).context(context)?;
    let found = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).context(context)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    let is_dir = kind == FileType::Directory;
    // By another name it was changed before.
    if !is_dir && found.st_nlink > 1 && !seen.insert((found.st_dev, found.st_ino)) {
        return Ok(false);
    }
    let ids = (outside_of(&mapping.uids, found.st_uid), outside_of(&mapping.gids, found.st_gid));
    let (Some(uid), Some(gid)) = ids else {
        return Err(Error::new(
            Kind::Invalid,
            format!(
                "potentially insufficient UIDs or GIDs available in user namespace (requested {}:{} for /{})",
                found.st_uid,
                found.st_gid,
                path.escape_ascii()
            ),
        )
        .hint("map more IDs, as in --userns=auto:size=65536"));
    };
    // A change of owner takes capabilities and set-user-ID bits away.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut capability = [0; 24];
    let file = match kind {
        FileType::RegularFile => Some(root.file(path, flags, Mode::empty()).context(context)?),
        _ => None,
    };
    let length = match &file {
        Some(file) => match fgetxattr(file, CAPABILITY, &mut capability[..]) {
            Ok(length) => length,
            Err(Errno::NODATA | Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(error).context(context),
        },
        None => 0,
    };
    let (uid_then, gid_then) = (Uid::from_raw(uid), Gid::from_raw(gid));
    chownat(&dir, name, Some(uid_then), Some(gid_then), AtFlags::SYMLINK_NOFOLLOW)
        .context(context)?;
    if kind != FileType::Symlink && found.st_mode & 0o6000 != 0 {
        chmodat(&dir, name, Mode::from_raw_mode(found.st_mode & 0o7777), AtFlags::empty())
            .context(context)?;
    }
    if let (Some(file), 20..) = (&file, length) {
        // Version 3 says for which root they are.
        capability[3] = 3;
        let root = outside_of(&mapping.uids, 0).unwrap_or(0);
        capability[20..].copy_from_slice(&root.to_le_bytes());
        fsetxattr(file, CAPABILITY, &capability, XattrFlags::empty()).context(context)?;
    }
    Ok(is_dir)
}
