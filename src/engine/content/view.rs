//! A container's root as it sees it, without what is mounted below it.
//!
//! While it has a process, that is a clone of the mount that it has. Otherwise it is an overlay that only reads,
//! or its own directory. Neither is mounted anywhere: it is seen by this process and ends with it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

use super::{Files, made_elsewhere};
use crate::engine::Engine;
use crate::engine::rootfs::places;
use crate::error::{Context, Error, Kind, Result};
use crate::image::changes::TreeKind;
use crate::store::container::{Container, ContainerConfig};
use crate::store::driver::Tree;
use crate::sys::mount::{self, Attributes, NO_DEV, READ_ONLY};
use crate::sys::process;
use crate::sys::root::Root;

/// Opens the root of a container. This process must have a single thread.
pub(super) fn open(engine: &Engine, container: &Container) -> Result<Root> {
    let files = Files::of(engine, container)?;
    // With users of its own it sees other owners than an image has; on the disk they are as there.
    let own_users = engine.mapping_of(&container.config)?.is_some();
    if files.kind == TreeKind::Upper
        && !own_users
        && let Some(run) = container.state.process()
        && let Some(process) = process::open(run.pid, run.start_time)
            .context(|| "cannot find the container's process")?
    {
        let root = made_elsewhere(0, || {
            process::hide().context(|| "cannot hide this process")?;
            setns(&process, CloneFlags::CLONE_NEWNS)
                .context(|| "cannot enter the container's mount namespace")?;
            mount::clone_tree(Path::new("/"), false).context(|| "cannot clone its root")
        })?;
        return Ok(Root::of(root));
    }
    let all = files.all();
    let open = |path: &Path| {
        Root::open(path).context(|| format!("cannot open directory {}", path.display()))
    };
    match all.as_slice() {
        [] => Err(Error::new(Kind::NotFound, "there is nothing in the container yet")),
        // The kernel wants two for an overlay.
        [only] => open(only),
        _ => overlay(engine, &all).map(Root::of),
    }
}

/// Makes what a container has that does not run: a detached mount that only reads, with the owners of
/// files as they are on the disk. This process must have a single thread.
pub(in crate::engine) fn still(engine: &Engine, container: &Container) -> Result<OwnedFd> {
    let all = Files::of(engine, container)?.all();
    match all.as_slice() {
        [] => Err(Error::new(Kind::NotFound, "there is nothing in the container yet")),
        // The kernel wants two for an overlay.
        [only] => made_elsewhere(libc::CLONE_NEWNS, || {
            let context = || format!("cannot show {}", only.display());
            let tree = mount::clone_tree(only, false).context(context)?;
            let attributes = Attributes { set: READ_ONLY | NO_DEV, ..Attributes::default() };
            mount::set_attributes(&tree, attributes, false).context(context)?;
            Ok(tree)
        }),
        _ => overlay(engine, &all),
    }
}

/// Opens the files that a container begins with, as they are on the disk; `None` if it has none of its
/// own. This process must have a single thread.
pub(in crate::engine) fn files_of(
    engine: &Engine,
    config: &ContainerConfig,
) -> Result<Option<Root>> {
    let containers = engine.store.containers();
    let mut all = match containers.tree(config) {
        Tree::Whole(tree) => vec![tree],
        Tree::Layers(mut layers) => {
            layers.extend(places(engine, config)?);
            layers
        }
    };
    let upper = containers.dir(&config.id).join("upper");
    if upper.exists() {
        all.insert(0, upper);
    }
    match all.as_slice() {
        [] => Ok(None),
        [only] => {
            let root = Root::open(only);
            root.map(Some).context(|| format!("cannot open directory {}", only.display()))
        }
        _ => overlay(engine, &all).map(Root::of).map(Some),
    }
}

/// In a user namespace, mounts are made in a mount namespace of it only.
fn overlay(engine: &Engine, all: &[PathBuf]) -> Result<OwnedFd> {
    let layers: Vec<&Path> = all.iter().map(PathBuf::as_path).collect();
    let options: &[(String, Option<String>)] =
        if engine.host.rootless { &[("userxattr".to_owned(), None)] } else { &[] };
    made_elsewhere(libc::CLONE_NEWNS, || {
        mount::overlay(&layers, None, options, READ_ONLY | NO_DEV)
            .context(|| format!("cannot mount an overlay of {} layers", layers.len()))
    })
}
