//! Volumes that are not mounted in the container but by this machine, as with Docker: those on other
//! machines (`type=nfs`, `type=cifs`) by its network, not the container's, and those on a block device,
//! which no container may open. A server that is named is looked up: the kernel takes addresses only.

use std::net::ToSocketAddrs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::engine::bundle::{self, Facts};
use crate::engine::{Engine, content};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime;
use crate::spec::volume::VolumeMount;
use crate::store::container::ContainerConfig;
use crate::store::volume::Volume;

/// Words that are about a container's own mount of a volume.
const OF_MOUNTS: [&str; 4] = ["noexec", "nosuid", "nodev", "ro"];

/// Finds out where the server of a volume is, if it has one.
pub(super) fn look_up(volume: &mut Volume) -> Result<()> {
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

impl Engine {
    /// Mounts the volumes of a container that this machine has to mount; returns where they are to be.
    /// This process must have a single thread.
    pub(in crate::engine) fn machine_volumes(
        &self,
        config: &ContainerConfig,
        facts: &Facts,
    ) -> Result<Vec<(PathBuf, OwnedFd)>> {
        let mut trees = Vec::new();
        for mount in &config.settings.mounts {
            let Some(name) = mount.volume() else { continue };
            let Some((volume, _)) = facts.volumes.get(name) else { continue };
            let Some(own) = volume.spec.mount().filter(VolumeMount::is_for_machine) else {
                continue;
            };
            let part = mount.subpath.as_ref().map(|below| format!("subpath={}", below.display()));
            let mut options = own.options.clone();
            // What another container may do with it says nothing about this one.
            options.retain(|word| !OF_MOUNTS.contains(word));
            options.extend(part.as_deref());
            let entry = bundle::mount(&mount.target, own.kind, own.device, &options);
            let tree = content::made_elsewhere(libc::CLONE_NEWNS, || runtime::detached(&entry));
            trees.push((
                mount.target.clone(),
                tree.context(|| format!("cannot mount volume {name}"))?,
            ));
        }
        Ok(trees)
    }
}
