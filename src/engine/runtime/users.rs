//! The users of a container: as root, a user namespace that its process is born into; without, one
//! that we enter ourselves before anything else.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};

use super::Runtime;
use super::document::namespace;
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::{Owners, UserNamespace};
use crate::sys::userns::{self, IdRange};

/// The user namespace of a container that has another one than we.
pub(super) struct Users {
    namespace: OwnedFd,
    first: (u32, u32),
}

impl Users {
    /// The same for the launcher.
    pub(super) fn for_runtime(&self) -> UserNamespace<'_> {
        // Who wrote the configuration has seen to the owners of the files.
        UserNamespace { namespace: self.namespace.as_fd(), owners: Owners::Kept, first: self.first }
    }
}

impl Runtime {
    /// Makes or finds the container's user namespace, and takes it off the list of those that are made
    /// with its process.
    pub(super) fn users(&self, spec: &mut Spec) -> Result<Option<Users>> {
        let asked = namespace(spec, LinuxNamespaceType::User).cloned();
        if let Some(list) = spec.linux_mut().as_mut().and_then(|it| it.namespaces_mut().as_mut()) {
            list.retain(|it| it.typ() != LinuxNamespaceType::User);
        }
        let Some(asked) = asked else {
            return match rustix::process::geteuid().is_root() {
                true => Ok(None),
                false => {
                    Err(Error::new(Kind::Invalid, "rootless container requires user namespaces")
                        .hint(
                            "`barge runtime spec --rootless` writes a configuration to begin with",
                        ))
                }
            };
        };
        if let Some(path) = asked.path() {
            let namespace =
                File::open(path).context(|| format!("cannot open {}", path.display()))?;
            return Ok(Some(Users { namespace: namespace.into(), first: (0, 0) }));
        }
        let linux = spec.linux().as_ref();
        let uids = ranges(linux.and_then(|linux| linux.uid_mappings().as_deref()));
        let gids = ranges(linux.and_then(|linux| linux.gid_mappings().as_deref()));
        let (Some(uid), Some(gid)) = (first(&uids), first(&gids)) else {
            let text = "user namespaces enabled, but no user or group mappings found";
            return Err(Error::new(Kind::Invalid, text));
        };
        if rustix::process::geteuid().is_root() {
            let namespace = userns::make(&uids, &gids).map_err(refused)?;
            return Ok(Some(Users { namespace, first: (uid, gid) }));
        }
        match (&*uids, &*gids) {
            // What everybody may do.
            ([uid], [gid]) if uid.count == 1 && gid.count == 1 => userns::enter_alone(*uid, *gid),
            _ => userns::enter_mapped(&uids, &gids),
        }
        .map_err(refused)?;
        Ok(None)
    }
}

fn ranges(mappings: Option<&[LinuxIdMapping]>) -> Vec<IdRange> {
    let range = |mapping: &LinuxIdMapping| IdRange {
        inside: mapping.container_id(),
        outside: mapping.host_id(),
        count: mapping.size(),
    };
    mappings.unwrap_or_default().iter().map(range).collect()
}

/// Returns who sets the container up: its root, if it has one.
fn first(ranges: &[IdRange]) -> Option<u32> {
    ranges.iter().map(|range| range.inside).min()
}

fn refused(error: std::io::Error) -> Error {
    Error::new(Kind::Unavailable, "cannot make a user namespace with the IDs asked for")
        .hint("see the sysctl user.max_user_namespaces, /etc/subuid and the package uidmap")
        .caused_by(error)
}
