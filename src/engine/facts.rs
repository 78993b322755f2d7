//! What a bundle depends on besides the configuration: who we are, and what is where.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::bundle::{self, Facts};
use super::{Engine, cdi};
use crate::error::Result;
use crate::spec::userns::outside_of;
use crate::store::container::{Builtin, ContainerConfig};
use crate::sys::mount;

impl Facts {
    /// Looks around for a container. `owner` is who its root is to us, in a user namespace that is not
    /// ours.
    pub(super) fn find(
        engine: &Engine,
        config: &ContainerConfig,
        cgroup: &str,
        owner: Option<(u32, u32)>,
    ) -> Result<Self> {
        let containers = engine.store.containers();
        let changes = containers.dir(&config.id).join("host");
        let host_tree = match config.builtin {
            Some(Builtin::Host) => {
                // What cannot be read is noticed when it is mounted.
                let mounts =
                    if engine.host.rootless { mount::points().unwrap_or_default() } else { vec![] };
                bundle::tree_of_host(engine.store.root(), &mounts, &changes, directories)
            }
            _ => Vec::new(),
        };
        let mapping = engine.mapping_of(config)?;
        let has_group = |id| mapping.as_ref().is_none_or(|it| outside_of(&it.gids, id).is_some());
        Ok(Self {
            name: String::new(),
            rootless: engine.host.rootless,
            own_users: owner.is_some(),
            owner,
            single_id: engine.host.rootless && has_single_id() || !has_group(5),
            has_root_group: has_group(0),
            run_dir: containers.run_dir(&config.id),
            executable: engine.host.executable.clone(),
            cgroup: cgroup.to_owned(),
            volumes: BTreeMap::new(),
            memory: Vec::new(),
            images: BTreeMap::new(),
            overlays: containers.dir(&config.id).join("overlays"),
            user: engine.user_for_mounts(config)?,
            host_tree,
            env: Vec::new(),
            notify: false,
            edits: cdi::edits(&config.settings)?,
        })
    }

    /// Returns the further groups of its user: those that were asked for, and those of its devices.
    pub(super) fn groups(&self, config: &ContainerConfig) -> Vec<String> {
        let of_devices = self.edits.iter().flat_map(|edits| &edits.additional_gids);
        config.settings.groups.iter().cloned().chain(of_devices.map(u32::to_string)).collect()
    }

    /// Whether it is in a user namespace, where no device nodes can be made.
    pub(super) fn is_confined(&self) -> bool {
        self.rootless || self.own_users
    }
}

fn has_single_id() -> bool {
    let map = fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    map.lines().count() <= 1 && map.split_whitespace().nth(2) == Some("1")
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
