//! What a container's root file system is made of, ready to be mounted.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::Engine;
use super::bundle::HostDir;
use crate::error::{Context, Result};
use crate::runtime::{Overlay, Rootfs};
use crate::store::container::ContainerConfig;
use crate::store::driver::Tree;
use crate::store::file;

/// Makes the directories of the container's own files, and names its layers. With `volatile`, nothing
/// is synced when it is let go of.
pub(super) fn rootfs(
    engine: &Engine,
    config: &ContainerConfig,
    host_tree: &[HostDir],
    volatile: bool,
) -> Result<Rootfs> {
    for own in host_tree.iter().flat_map(|tree| [&tree.upper, &tree.work]) {
        file::create_dirs(own, 0o755)?;
    }
    for tree in host_tree {
        // The upper directory's own attributes are what the container sees.
        if let Ok(found) = fs::metadata(&tree.path) {
            file::set_mode(&tree.upper, found.permissions().mode() & 0o7777)?;
        }
    }
    let containers = engine.store.containers();
    let mut layers = match containers.tree(config) {
        Tree::Whole(tree) => return Ok(Rootfs::Directory(tree)),
        Tree::Layers(layers) => layers,
    };
    if let Some(root) = engine.mounted_root(config)? {
        return Ok(Rootfs::Mounted(root));
    }
    let dir = containers.dir(&config.id);
    let [upper, work] = ["upper", "work"].map(|name| dir.join(name));
    // A volatile overlay that was cut off is refused by the kernel; its mark lies in there.
    file::remove_tree(&work)?;
    for own in [&upper, &work] {
        file::create_dirs(own, 0o755)?;
    }
    layers.extend(places(engine, config)?);
    Ok(Rootfs::Overlay(Overlay {
        layers,
        upper,
        // Some directory; of this one nobody needs to see anything by its path any more.
        mount_point: work.clone(),
        work,
        volatile,
        user_xattr: engine.host.rootless,
    }))
}

/// Returns the layer below all layers of a container's image. There is none if nothing is mounted in some of
/// its places, so that they would be seen. A directory that is in place of an image may be around the store,
/// and the kernel wants no layer within another: then there is none, either.
pub(in crate::engine) fn places(
    engine: &Engine,
    config: &ContainerConfig,
) -> Result<Option<PathBuf>> {
    let settings = &config.settings;
    let is_hidden = settings.rootfs.is_none() && settings.names.has_all_files();
    is_hidden.then(|| engine.store.places()).transpose()
}

/// As [`rootfs`], for somebody who only reads: others may use its directories meanwhile. What is made on
/// the way goes to an empty directory beside the store's others.
pub(super) fn read_only(
    engine: &Engine,
    config: &ContainerConfig,
    scratch: &Path,
) -> Result<Rootfs> {
    let containers = engine.store.containers();
    let mut layers = match containers.tree(config) {
        Tree::Whole(tree) => return Ok(Rootfs::Directory(tree)),
        Tree::Layers(layers) => layers,
    };
    if let Some(root) = engine.mounted_root(config)? {
        return Ok(Rootfs::Mounted(root));
    }
    let [upper, work] = ["upper", "work"].map(|name| scratch.join(name));
    for made in [&upper, &work] {
        file::create_dirs(made, 0o755)?;
    }
    let own = containers.dir(&config.id).join("upper");
    let shown = if own.exists() { Some(&own) } else { layers.first() };
    if let Some(shown) = shown {
        // Its attributes are those of the root directory.
        let context = || format!("cannot look at {}", shown.display());
        let found = fs::metadata(shown).context(context)?;
        let made = fs::File::open(&upper).context(context)?;
        std::os::unix::fs::fchown(&made, Some(found.uid()), Some(found.gid())).context(context)?;
        file::set_mode(&upper, found.mode() & 0o7777)?;
        made.set_modified(found.modified().context(context)?).context(context)?;
    }
    if own.exists() {
        layers.insert(0, own);
    }
    layers.extend(places(engine, config)?);
    Ok(Rootfs::Overlay(Overlay {
        layers,
        upper,
        mount_point: work.clone(),
        work,
        volatile: true,
        user_xattr: engine.host.rootless,
    }))
}
