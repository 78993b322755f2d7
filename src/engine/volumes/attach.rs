//! How a container gets its volumes: named and made at create, filled at the first start.
//!
//! A volume that nobody has used yet begins with what the image has where it is mounted, with owners
//! and modes. That is copied by the monitor, from a view of the container's own files, before the
//! container exists.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::engine::create::random_id;
use crate::engine::{Engine, content, now};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::mount::{Mount, MountSource};
use crate::spec::userns::{UsernsMode, outside_of};
use crate::spec::volume::VolumeSpec;
use crate::store::container::ContainerConfig;
use crate::store::volume::{Held, Volume};

impl Engine {
    /// Names the volumes of a container that is about to be recorded, makes those that are not there,
    /// and keeps all from being removed until it is on record.
    pub(in crate::engine) fn take_volumes(&self, config: &mut ContainerConfig) -> Result<Held> {
        let durable = !config.settings.remove;
        let mut wanted: BTreeMap<String, (VolumeSpec, bool)> = BTreeMap::new();
        for mount in &mut config.settings.mounts {
            let MountSource::Volume { name, anonymous, new, .. } = &mut mount.source else {
                continue;
            };
            new.check()?;
            let name = match name {
                Some(name) => name.clone(),
                None => name.insert(random_id()?.to_string()).clone(),
            };
            wanted.entry(name).or_insert((new.clone(), *anonymous));
        }
        let volumes = self.store.volumes();
        let mut held = Held::default();
        for (name, (spec, anonymous)) in wanted {
            // Somebody may remove it again in between.
            while !volumes.hold(&mut held, &name)? {
                let (name, spec) = (name.clone(), spec.clone());
                let volume = Volume { name, created: now(), anonymous, spec };
                self.make_volume(&volume, durable || !anonymous)?;
            }
        }
        self.check_overlays(config)?;
        Ok(held)
    }

    /// Refuses to show a volume with changes going elsewhere that has no directory to be below them.
    fn check_overlays(&self, config: &ContainerConfig) -> Result<()> {
        let above = config.settings.mounts.iter().filter(|mount| mount.overlay.is_some());
        for name in above.filter_map(Mount::volume) {
            let volume = self.store.volumes().get(name)?;
            let mount = volume.as_ref().and_then(|volume| volume.spec.mount());
            if mount.is_some_and(|own| own.kind != "bind") {
                let message = format!(
                    "the mount option `O` cannot be set for volume {name}: its files are there only where it is mounted"
                );
                return Err(Error::new(Kind::Invalid, message)
                    .hint("mount it without O: readonly, if nothing is to be changed"));
            }
        }
        Ok(())
    }

    /// Returns what the volumes of a container that is never made would be.
    pub(in crate::engine) fn shown_volumes(
        &self,
        config: &mut ContainerConfig,
    ) -> Result<BTreeMap<String, (Volume, PathBuf)>> {
        let volumes = self.store.volumes();
        let mut shown = BTreeMap::new();
        for (index, mount) in config.settings.mounts.iter_mut().enumerate() {
            let MountSource::Volume { name, anonymous, new, .. } = &mut mount.source else {
                continue;
            };
            new.check()?;
            // The same each time.
            let name = name.get_or_insert_with(|| format!("{index:064}")).clone();
            let made = Volume { name, created: 0, anonymous: *anonymous, spec: new.clone() };
            let volume = volumes.get(&made.name)?.unwrap_or(made);
            let data = volumes.data(&volume.name);
            shown.insert(volume.name.clone(), (volume, data));
        }
        Ok(shown)
    }

    /// Reads the volumes of a container that is about to start, and fills those that nobody has used.
    pub(in crate::engine) fn ready_volumes(
        &self,
        config: &ContainerConfig,
    ) -> Result<BTreeMap<String, (Volume, PathBuf)>> {
        let mut ready = BTreeMap::new();
        for mount in &config.settings.mounts {
            let MountSource::Volume { name: Some(name), copy, .. } = &mount.source else {
                continue;
            };
            let volumes = self.store.volumes();
            let volume = volumes.get(name)?.ok_or_else(|| {
                let message = format!("no volume with name \"{name}\" found: no such volume");
                Error::new(Kind::NotFound, message)
            })?;
            if volumes.is_fresh(name) {
                self.fill(config, mount, &volume, *copy)
                    .context(|| format!("cannot prepare volume {name}"))?;
            }
            let data = match (volume.spec.is_by_plugin(), ready.get(name)) {
                (true, Some((_, data))) => PathBuf::clone(data),
                (true, None) => self.mount_by_plugin(&config.id, &volume)?,
                (false, _) => volumes.data(name),
            };
            ready.insert(name.clone(), (volume, data));
        }
        Ok(ready)
    }

    fn fill(
        &self,
        config: &ContainerConfig,
        mount: &Mount,
        volume: &Volume,
        copy: bool,
    ) -> Result<()> {
        let Some(locked) = self.store.volumes().lock(&volume.name)? else { return Ok(()) };
        // While we waited, somebody else may have filled it. One with options has its files elsewhere.
        if !self.store.volumes().is_fresh(&volume.name) {
            return Ok(());
        }
        if let Some(own) = volume.spec.own()? {
            let mapping = self.mapping_of(config)?;
            let owner = match (&mapping, &config.settings.users.mode) {
                // It is the user's own, who is not root in there.
                (_, UsernsMode::KeepId { .. }) | (None, _) => None,
                (Some(mapping), _) => {
                    outside_of(&mapping.uids, 0).zip(outside_of(&mapping.gids, 0))
                }
            };
            // Without root, what the container has on the disk has the right owners already.
            let mapping = mapping.filter(|_| !self.host.rootless);
            // One that was given to somebody stays so.
            if let (Some((uid, gid)), None, None) = (owner, own.uid, own.gid) {
                locked.give_to(uid, gid)?;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let target = mount.target.as_os_str().as_encoded_bytes();
            if copy
                && !own.is_empty
                && mount.subpath.is_none()
                && let Some(root) = content::files_of(self, config)?
                // What is no directory there is told when it is mounted.
                && let Ok(dir) = root.file(target, flags, Mode::empty())
            {
                let from = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
                let durable = !(volume.anonymous && config.settings.remove);
                locked.fill(&from, mapping.as_ref(), durable)?;
            }
        }
        locked.is_used()
    }
}
