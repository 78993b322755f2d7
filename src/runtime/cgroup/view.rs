//! What a container sees of control groups: its own, at `/sys/fs/cgroup`.

use std::os::fd::BorrowedFd;
use std::path::Path;

use oci_spec::runtime::Mount;
use rustix::fs::OFlags;

use super::hierarchy::MOUNT;
use super::{Cgroup, Directory};
use crate::error::{Context, Result};
use crate::runtime::rootfs;
use crate::sys::mount::{self, Attributes};

/// Mounts the hierarchies that the container has groups in where `entry` says, beneath the new root.
///
/// A new control group namespace shows its own groups as the top of each hierarchy. Without one
/// (`own_namespace`), the groups' directories are bound there: the rest is none of its business. One
/// that `manages` groups may make some in version 2, where it cannot undo its own limits by that.
pub(in crate::runtime) fn mount(
    root: BorrowedFd<'_>,
    entry: &Mount,
    group: Option<&Cgroup>,
    own_namespace: bool,
    manages: bool,
) -> Result<()> {
    let bound = |directory: &Directory| (!own_namespace).then(|| directory.path.clone());
    let show = |place: &Path, kind: &str, source: Option<_>, more: &[String]| {
        let mut words = entry.options().clone().unwrap_or_default();
        if manages && kind == "cgroup2" {
            words.retain(|word| word != "ro");
            words.push("rw".to_owned());
        }
        let mut mount = Mount::default();
        match &source {
            Some(_) => words.push("rbind".to_owned()),
            None => words.extend_from_slice(more),
        }
        mount
            .set_destination(place.to_owned())
            .set_typ(Some(if source.is_some() { "bind" } else { kind }.to_owned()))
            .set_source(source.or_else(|| Some(kind.into())))
            .set_options(Some(words));
        rootfs::apply(root, &mount, None)
    };
    let top = entry.destination();
    let v2 = group.and_then(|group| group.v2.as_ref());
    let v1 = group.map_or(&[][..], |group| &group.v1);
    if v1.is_empty() {
        let unified =
            rustix::fs::statfs(MOUNT).is_ok_and(|facts| facts.f_type == libc::CGROUP2_SUPER_MAGIC);
        if !unified {
            // Nothing of its own to be seen.
            return Ok(());
        }
        return match show(top, "cgroup2", v2.and_then(bound), &[]) {
            // In a user namespace, the host's control group namespace can only be shown as it is.
            Err(_) if !own_namespace => show(top, "bind", Some(MOUNT.into()), &["rro".to_owned()]),
            other => other,
        };
    }

    let mut tmpfs = Mount::default();
    let words = ["nosuid", "noexec", "nodev", "mode=755", "size=64k"].map(str::to_owned);
    tmpfs
        .set_destination(top.to_owned())
        .set_typ(Some("tmpfs".to_owned()))
        .set_source(Some("tmpfs".into()))
        .set_options(Some(words.to_vec()));
    rootfs::apply(root, &tmpfs, None)?;
    for directory in v1 {
        let name = directory.controllers.join(",");
        show(&top.join(&name), "cgroup", bound(directory), &directory.controllers)?;
        if directory.controllers.len() > 1 {
            let dir = rootfs::target(root, top, true)?;
            for controller in &directory.controllers {
                rustix::fs::symlinkat(name.as_str(), &dir, controller.as_str())
                    .context(|| format!("cannot link {controller} to {name}"))?;
            }
        }
    }
    if let Some(v2) = v2 {
        show(&top.join("unified"), "cgroup2", bound(v2), &[])?;
    }
    let read_only = entry.options().iter().flatten().any(|word| word == "ro");
    if read_only {
        let attributes = Attributes { set: mount::READ_ONLY, ..Attributes::default() };
        rootfs::open_in(root, top, OFlags::PATH)
            .map_err(std::io::Error::from)
            .and_then(|tmpfs| mount::set_attributes(tmpfs, attributes, false))
            .context(|| format!("cannot make {} read-only", top.display()))?;
    }
    Ok(())
}
