//! What is done to the sources of mounts before a container starts: `U` gives them to its user, `O` lets
//! changes go elsewhere.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, statat};
use rustix::io::Errno;

use crate::engine::Engine;
use crate::engine::bundle::Facts;
use crate::error::{Context, Error, Kind, Result};
use crate::runtime;
use crate::spec::mount::{Mount, MountSource, OverlayOf};
use crate::spec::userns::{IdMapping, outside_of};
use crate::store::container::ContainerConfig;
use crate::store::file;
use crate::sys::root::Root;

impl Engine {
    /// Finds out who a container's user is, if mounts are to be given to it.
    pub(in crate::engine) fn user_for_mounts(
        &self,
        config: &ContainerConfig,
    ) -> Result<Option<(u32, u32)>> {
        if !config.settings.mounts.iter().any(|mount| mount.chown) {
            return Ok(None);
        }
        let text = |path| self.text_of_image(config, path);
        let (user, _) = runtime::who(&config.user, &[], &text("etc/passwd"), &text("etc/group"))?;
        Ok(Some((user.uid(), user.gid())))
    }

    /// Makes the sources of a container's mounts what they are asked to be. Returns what the user should
    /// know of those that the container cannot write to.
    pub(in crate::engine) fn ready_mounts(
        &self,
        config: &ContainerConfig,
        facts: &Facts,
    ) -> Result<Vec<String>> {
        let mut strange = Vec::new();
        for (index, mount) in config.settings.mounts.iter().enumerate() {
            if let MountSource::Image { .. } = mount.source
                && let Some(layer) = facts.images.get(&index).and_then(|layers| layers.first())
            {
                make_overlay(&facts.overlays.join(index.to_string()), layer)
                    .context(|| format!("cannot make an overlay of {}", layer.display()))?;
            }
            let Some(source) = source_of(mount, facts) else { continue };
            if let Some(OverlayOf::Discarded) = mount.overlay {
                let dir = facts.overlays.join(index.to_string());
                make_overlay(&dir, &source)
                    .context(|| format!("cannot make an overlay of {}", source.display()))?;
            } else if let (true, Some((uid, gid))) = (mount.chown, facts.user) {
                let mapping = self.mapping_of(config)?;
                // With `idmap`, it is mounted with the owners that it has on the disk, seen from inside.
                let mapping = mapping.filter(|_| !mount.idmap);
                give(&source, outside(mapping.as_ref(), (uid, gid))?)?;
            } else if facts.rootless && !mount.read_only && is_strange(&source) {
                strange.push(format!(
                    "{} belongs to a user or group that is not yours to map: the container has only \
                     what everybody may do there, and cannot write",
                    source.display()
                ));
            }
        }
        Ok(strange)
    }
}

/// Returns who a container's user and group are to us.
pub(super) fn outside(mapping: Option<&IdMapping>, ids: (u32, u32)) -> Result<(u32, u32)> {
    let Some(mapping) = mapping else { return Ok(ids) };
    let found = outside_of(&mapping.uids, ids.0).zip(outside_of(&mapping.gids, ids.1));
    found.ok_or_else(|| {
        let message = format!("user {}:{} is not mapped in the user namespace", ids.0, ids.1);
        Error::new(Kind::Invalid, message)
    })
}

/// Returns what is shown by a mount, if that is something on the disk.
fn source_of(mount: &Mount, facts: &Facts) -> Option<std::path::PathBuf> {
    match &mount.source {
        MountSource::Bind { path, .. } => Some(path.clone()),
        MountSource::Volume { name, .. } => {
            let (found, data) = facts.volumes.get(name.as_deref()?)?;
            match found.spec.mount() {
                None => Some(data.clone()),
                Some(own) if own.kind == "bind" => Some(own.device.into()),
                Some(_) => None,
            }
        }
        MountSource::Tmpfs { .. }
        | MountSource::Ramfs { .. }
        | MountSource::Devpts
        | MountSource::Image { .. }
        | MountSource::Artifact { .. } => None,
    }
}

/// The ID that the kernel shows for those that a user namespace does not map.
const NOBODY: u32 = 65534;

/// Tells whether something belongs to somebody who is not mapped here, and cannot be written to.
fn is_strange(source: &Path) -> bool {
    use rustix::fs::{Access, CWD, accessat};
    let is_nobody = fs::metadata(source).is_ok_and(|it| it.uid() == NOBODY || it.gid() == NOBODY);
    is_nobody && accessat(CWD, source, Access::WRITE_OK, AtFlags::EACCESS).is_err()
}

/// Says of a file that cannot be given away whom it belongs to.
fn not_mapped(error: Error, owner: (u32, u32)) -> Error {
    match owner {
        (NOBODY, _) | (_, NOBODY) => error.hint(
            "it belongs to a user or group that is not mapped here: see `ls -ln` outside of \
             containers, and have root give it to you",
        ),
        _ => error,
    }
}

/// Makes empty directories for changes, with owner and mode of what is shown.
fn make_overlay(dir: &Path, source: &Path) -> Result<()> {
    file::remove_tree(dir)?;
    let found = fs::metadata(source).context(|| format!("cannot look at {}", source.display()))?;
    if !found.is_dir() {
        return Err(Error::new(Kind::Invalid, "it is no directory"));
    }
    for name in ["upper", "work"] {
        file::create_dirs(&dir.join(name), 0o755)?;
    }
    let upper = dir.join("upper");
    chown(&upper, Some(found.uid()), Some(found.gid()))
        .context(|| format!("cannot change the owner of {}", upper.display()))?;
    file::set_mode(&upper, found.permissions().mode() & 0o7777)
}

/// Gives all files of a tree to somebody. Links are not followed, and other file systems left alone.
fn give(tree: &Path, ids: (u32, u32)) -> Result<()> {
    // By whatever name it was called.
    let real = fs::canonicalize(tree).context(|| format!("cannot find {}", tree.display()))?;
    refuse_machine(&real)?;
    let top = rustix::fs::open(tree, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .context(|| format!("cannot open {}", tree.display()))?;
    give_open(top, tree, ids)
}

/// As [`give`], of a tree that is open, whatever its name.
pub(super) fn give_open(top: OwnedFd, tree: &Path, ids: (u32, u32)) -> Result<()> {
    let context = |path: &[u8]| {
        let below = path.escape_ascii().to_string();
        move || match below.as_str() {
            "" => format!("cannot change the owner of {}", tree.display()),
            below => format!("cannot change the owner of `{below}` in {}", tree.display()),
        }
    };
    let (uid, gid) = (Uid::from_raw(ids.0), Gid::from_raw(ids.1));
    let found = fstat(&top).context(|| format!("cannot look at {}", tree.display()))?;
    if (found.st_uid, found.st_gid) != ids {
        chownat(&top, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
            .context(context(b""))
            .map_err(|error| not_mapped(error, (found.st_uid, found.st_gid)))?;
    }
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Ok(());
    }
    let root = Root::of(top);
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = match root.beneath(&path, flags) {
            // Something else is mounted there, or it has gone.
            Err(error)
                if [Errno::XDEV, Errno::NOENT, Errno::LOOP, Errno::NOTDIR]
                    .contains(&Errno::from_io_error(&error).unwrap_or(Errno::IO)) =>
            {
                continue;
            }
            other => other.context(context(&path))?,
        };
        for entry in Dir::read_from(&dir).context(context(&path))? {
            let entry = entry.context(context(&path))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let mut below = path.clone();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(name);
            let is = match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other.context(context(&below))?,
            };
            if (is.st_uid, is.st_gid) != ids {
                match chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => {
                        let failed = Err(error).context(context(&below));
                        return failed.map_err(|error| not_mapped(error, (is.st_uid, is.st_gid)));
                    }
                }
            }
            if FileType::from_raw_mode(is.st_mode) == FileType::Directory {
                waiting.push(below);
            }
        }
    }
    Ok(())
}

/// Refuses directories without which this machine is no more, as Podman does.
fn refuse_machine(tree: &Path) -> Result<()> {
    let names = tree.components().filter(|part| matches!(part, Component::Normal(_))).count();
    let system =
        ["/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run/systemd", "/sys", "/usr"];
    if names < 2 || system.iter().any(|dir| tree.starts_with(dir)) {
        return Err(Error::new(
            Kind::Invalid,
            format!(
                "cannot give {} to the container's user: this machine needs it",
                tree.display()
            ),
        )
        .hint("use U for directories that are for containers"));
    }
    Ok(())
}
