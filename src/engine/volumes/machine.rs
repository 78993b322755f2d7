//! Volumes that are not mounted in the container but by this machine, as with Docker: those on other
//! machines (`type=nfs`, `type=cifs`) by its network, not the container's, and those on a block device,
//! which no container may open. A server that is named is looked up: the kernel takes addresses only.
//!
//! A server may take long to answer, or never do. So a child looks it up and mounts, before anybody has
//! the container's record locked, and is given up when nobody wants that any more.

use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::owners::{give_open, outside};
use crate::engine::content::{Made, Making};
use crate::engine::users::{first_outside, namespace_of};
use crate::engine::{Engine, bundle};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime;
use crate::spec::mount::Mount;
use crate::spec::userns::IdMapping;
use crate::spec::volume::VolumeMount;
use crate::store::container::ContainerConfig;
use crate::store::volume::Volume;

/// Words that are about a container's own mount of a volume.
const OF_MOUNTS: [&str; 4] = ["noexec", "nosuid", "nodev", "ro"];

/// What this machine has mounted for a container.
#[derive(Debug, Default)]
pub(in crate::engine) struct MachineMounts {
    /// Where each is to be in it, and what.
    pub(in crate::engine) trees: Vec<(PathBuf, OwnedFd)>,
    /// What did not go as asked.
    pub(in crate::engine) warnings: Vec<String>,
}

/// A volume that this machine has to mount for a container.
#[derive(Debug)]
pub(in crate::engine) struct MachineVolume {
    mount: Mount,
    volume: Volume,
    /// What its owners are shown by.
    mapping: Option<IdMapping>,
    /// Whom its files are given to, as this machine has them.
    owner: Option<(u32, u32)>,
    rootless: bool,
}

impl Engine {
    /// Tells whether this machine has to mount something for a container.
    pub(in crate::engine) fn has_machine_volumes(&self, config: &ContainerConfig) -> Result<bool> {
        let volumes = self.store.volumes();
        for name in config.settings.mounts.iter().filter_map(Mount::volume) {
            if volumes.get(name)?.is_some_and(|it| is_for_machine(&it)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns what this machine has to mount for a container.
    pub(in crate::engine) fn machine_volumes(
        &self,
        config: &ContainerConfig,
    ) -> Result<Vec<MachineVolume>> {
        let mut found = Vec::new();
        for mount in &config.settings.mounts {
            let Some(name) = mount.volume() else { continue };
            // One that is not there is told of by the start.
            let Some(volume) = self.store.volumes().get(name)? else { continue };
            if !is_for_machine(&volume) {
                continue;
            }
            let mapping = self.mapping_of(config)?;
            let user = match mount.chown {
                true => self.user_for_mounts(config)?,
                false => None,
            };
            let owner = user.map(|user| outside(mapping.as_ref(), user)).transpose()?;
            let mapping = mapping.filter(|mapping| self.shows_owners(mapping));
            let (mount, rootless) = (mount.clone(), self.host.rootless);
            found.push(MachineVolume { mount, volume, mapping, owner, rootless });
        }
        Ok(found)
    }

    /// Mounts what this machine has to mount for a container, however long that takes: no lock may be
    /// held. This process must have a single thread.
    pub(in crate::engine) fn mounted_by_machine(
        &self,
        config: &ContainerConfig,
    ) -> Result<MachineMounts> {
        let mut mounts = MachineMounts::default();
        for volume in self.machine_volumes(config)? {
            let making = volume.begin()?;
            mounts.add(&volume, making)?;
        }
        Ok(mounts)
    }
}

impl MachineMounts {
    /// Waits for a volume to be mounted.
    pub(in crate::engine) fn add(&mut self, volume: &MachineVolume, making: Making) -> Result<()> {
        let made = making.finish();
        let made = made.context(|| format!("cannot mount volume {}", volume.volume.name));
        let made = made.map_err(|error| match error.kind() {
            // A disk that is missing is no container that is missing, and no program is refused.
            Kind::NotFound | Kind::Denied => error.kind_is(Kind::Internal),
            _ => error,
        })?;
        self.trees.push((volume.mount.target.clone(), made.tree));
        self.warnings.extend(made.warnings);
        Ok(())
    }
}

impl MachineVolume {
    /// Begins to mount it. This process must have a single thread.
    pub(in crate::engine) fn begin(&self) -> Result<Making> {
        Making::begin(libc::CLONE_NEWNS, || self.make())
    }

    fn make(&self) -> Result<Made> {
        let mut volume = self.volume.clone();
        look_up(&mut volume)?;
        let Some(own) = volume.spec.mount() else {
            return Err(Error::new(Kind::Internal, "there is nothing to mount"));
        };
        let below = self.mount.subpath.as_ref();
        let part = below.map(|below| format!("subpath={}", below.display()));
        let mut options = own.options.clone();
        // What another container may do with it says nothing about this one.
        options.retain(|word| !OF_MOUNTS.contains(word));
        options.extend(part.as_deref());
        options.extend(own.usual_version());
        let entry = bundle::mount(&self.mount.target, own.kind, own.device, &options);
        let tree = runtime::detached(&entry).map_err(|error| self.explain(error, &own))?;
        let mut warnings = Vec::new();
        if let Some(mapping) = &self.mapping {
            warnings.extend(self.map_owners(&tree, mapping, &own)?);
        }
        if let Some(owner) = self.owner {
            let top = tree.try_clone().context(|| "cannot copy a mount's descriptor")?;
            give_open(top, &self.mount.target, owner)?;
        }
        Ok(Made { tree, warnings })
    }

    /// Shows its owners as the container's users stand for them. Returns what the user should know where
    /// the kernel cannot do that.
    fn map_owners(
        &self,
        tree: &OwnedFd,
        mapping: &IdMapping,
        own: &VolumeMount<'_>,
    ) -> Result<Option<String>> {
        let namespace = namespace_of(mapping)
            .context(|| "cannot make a user namespace with the IDs of the container")?;
        let Err(error) = runtime::show_owners(tree, namespace.as_fd(), false) else {
            return Ok(None);
        };
        let (uid, gid) = first_outside(mapping);
        let way_out = match own.takes_owners() {
            true => format!("show them as the container's root's by -o o=uid={uid},gid={gid}"),
            false => {
                format!("where they are, give them to {uid}:{gid}, who is the container's root")
            }
        };
        if self.mount.idmap {
            let hint = format!("leave out idmap, and {way_out}");
            return Err(error.hint(hint));
        }
        Ok(Some(format!(
            "the files of volume {} have the owners in the container that they have outside of it, as \
             the kernel cannot show those of {} as others: {way_out}",
            self.volume.name, own.kind
        )))
    }

    /// Says what can be done about a mount that failed.
    fn explain(&self, error: Error, own: &VolumeMount<'_>) -> Error {
        if error.hint_text().is_some() {
            return error;
        }
        match error.kind() {
            Kind::Denied if self.rootless => error.hint(
                "the kernel lets nobody but root mount this: have root mount it somewhere, and use \
                 -o type=none -o o=bind -o device=DIRECTORY",
            ),
            Kind::Unsupported if own.is_nfs() => error.hint(
                "this machine's kernel, or the server, lacks NFS of this version: have root load it, as \
                 by `modprobe nfsv4`, or ask for another one, as in -o o=nfsvers=3 or -o o=nfsvers=4.2",
            ),
            Kind::Unsupported => error.hint(format!(
                "this machine's kernel lacks it: have root load it, as by `modprobe {}`",
                own.kind
            )),
            _ => error,
        }
    }
}

fn is_for_machine(volume: &Volume) -> bool {
    volume.spec.mount().is_some_and(|own| own.is_for_machine())
}

/// Finds out where the server of a volume is, if it has one.
fn look_up(volume: &mut Volume) -> Result<()> {
    let Some(mount) = volume.spec.mount() else { return Ok(()) };
    let Some(server) = mount.server() else { return Ok(()) };
    let failed = || format!("cannot look up `{server}`, the server of volume {}", volume.name);
    let found = (server, 0).to_socket_addrs().map_err(|error| {
        Error::new(Kind::Unavailable, failed())
            .hint("name it by an address, as in -o o=addr=192.0.2.1")
            .caused_by(error)
    })?;
    // As Docker: IPv4 if there is any.
    let mut found: Vec<_> = found.map(|it| it.ip()).collect();
    found.sort_by_key(std::net::IpAddr::is_ipv6);
    let nowhere = || Error::new(Kind::Unavailable, failed()).caused_by("it has no address");
    let address = *found.first().ok_or_else(nowhere)?;
    volume.spec.find_server(address);
    Ok(())
}
