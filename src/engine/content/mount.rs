//! `mount` and `unmount`: the files of a container, to be looked at and changed from the host.
//!
//! What is seen there is the container's own root, not a copy: while it runs, another mount of the
//! overlay that it has. One that does not run has its overlay made here, and a later start takes that
//! one: two overlays of one upper directory would not know of each other's changes.
//!
//! Without root, what is mounted is seen in the mount namespace of one `barge unshare` only, where a
//! start elsewhere cannot find it. There, what does not run can be looked at, but not changed.

use super::{made_elsewhere, refuse_builtin, still};
use crate::engine::Engine;
use crate::engine::mounts::{Place, check_power};
use crate::engine::rootfs::rootfs;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::store::container::{Container, ContainerConfig};
use crate::store::events::{Action, Event};
use crate::sys::mount;
use crate::sys::mountns;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// Mounts of a mount namespace of our own follow the host's, but not the other way around.
const MS_SLAVE: u64 = 1 << 19;

/// A container whose files can be seen.
#[derive(Clone, Debug)]
pub struct MountedContainer {
    /// Its ID.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Where they are.
    pub path: PathBuf,
}

impl Engine {
    /// Makes the files of a container seen, and counts how often that was asked for. This process must
    /// have a single thread.
    pub fn mount_container(&self, name: &str) -> Result<MountedContainer> {
        check_power(self, "mount")?;
        let container = self.lookup(name)?;
        refuse_builtin(&container, "mount")?;
        let id = container.id().clone();
        // A start waits for us, or we for it.
        let locked = self.store.containers().lock(&id)?;
        let container = self.store.containers().get(&id)?.unwrap_or(container);
        let place = self.place_of(&id);
        let context = || format!("cannot mount container {name}");
        if place.is_mounted()? {
            place.count_up()?;
        } else {
            let tree = self.seen_tree(&container).context(context)?;
            place.attach(&tree).context(context)?;
        }
        drop(locked);
        self.record_event(Event::of(&container, Action::Mount));
        Ok(MountedContainer { id, name: container.state.name, path: place.root() })
    }

    /// Returns the containers whose files are seen, the oldest first.
    pub fn mounted_containers(&self) -> Result<Vec<MountedContainer>> {
        let mut mounted = Vec::new();
        for container in self.list()?.into_iter().rev() {
            let place = self.place_of(container.id());
            if place.is_mounted()? {
                let Container { config, state, .. } = container;
                mounted.push(MountedContainer {
                    id: config.id,
                    name: state.name,
                    path: place.root(),
                });
            }
        }
        Ok(mounted)
    }

    /// Undoes one [`mount_container`](Self::mount_container), or all with `force`.
    pub fn unmount_container(&self, name: &str, force: bool) -> Result<()> {
        let container = self.lookup(name)?;
        let _locked = self.store.containers().lock(container.id())?;
        let place = self.place_of(container.id());
        if !place.is_mounted()? {
            return Err(Error::new(
                Kind::Conflict,
                format!("cannot unmount container {name}: it is not mounted"),
            ));
        }
        if place.release(force).context(|| format!("cannot unmount container {name}"))? {
            self.record_event(Event::of(&container, Action::Unmount));
        }
        Ok(())
    }

    /// Takes the files of a container that goes away out of sight. If somebody works in them, that fails
    /// unless it is `forced`.
    pub(in crate::engine) fn unmount_for_good(&self, id: &ContainerId, forced: bool) -> Result<()> {
        let place = self.place_of(id);
        match (place.is_mounted()?, forced) {
            (false, _) => Ok(()),
            (true, true) => place.discard(),
            (true, false) => place.release(true).map(drop),
        }
    }

    /// Returns where the overlay of a container is mounted on the host, if it is.
    pub(in crate::engine) fn mounted_root(
        &self,
        config: &ContainerConfig,
    ) -> Result<Option<PathBuf>> {
        if self.host.rootless {
            return Ok(None);
        }
        let place = self.place_of(&config.id);
        Ok(place.is_mounted()?.then(|| place.root()))
    }

    fn place_of(&self, id: &ContainerId) -> Place {
        Place::new(self.store.containers().run_dir(id).join("mounted"))
    }

    /// Makes a mount of what a container sees at its root, without what is mounted below.
    fn seen_tree(&self, container: &Container) -> Result<OwnedFd> {
        if container.state.process().is_some() {
            let process = self.process_of(container)?;
            return mountns::clone_mount_of(process.as_fd(), c"/", false)
                .context(|| "cannot clone its root");
        }
        if self.host.rootless {
            return still(self, container);
        }
        let config = &container.config;
        let rootfs = rootfs(self, config, &[], config.settings.remove)?;
        let users = self.user_namespace(config)?;
        made_elsewhere(libc::CLONE_NEWNS, || {
            mount::set_propagation_of_all(MS_SLAVE)
                .context(|| "cannot cut the mounts off from the host's")?;
            rootfs.tree(users.as_ref().map(|users| users.for_runtime()).as_ref())
        })
    }
}
