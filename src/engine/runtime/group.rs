//! Where the control group of a container is, and what it limits.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources, Spec};

use super::Runtime;
use crate::engine::bundle;
use crate::error::{Error, Kind, Result};
use crate::runtime::cgroup::Hierarchies;

impl Runtime {
    /// Decides where a container's control group is, below each mount point.
    ///
    /// A path from the top is taken as it is, any other lies below the place for barge's containers.
    pub(super) fn group_path(
        &self,
        spec: &Spec,
        id: &str,
        hierarchies: &Hierarchies,
    ) -> Result<String> {
        let linux = spec.linux().as_ref();
        let asked = linux.and_then(|linux| linux.cgroups_path().as_ref());
        let asked = asked.map(|path| path.to_string_lossy()).unwrap_or_default();
        if self.systemd {
            return Err(Error::new(
                Kind::Unsupported,
                "control groups of systemd are not supported yet",
            )
            .hint("use the manager `cgroupfs`"));
        }
        let rootless = self.host.rootless;
        Ok(match asked.as_ref() {
            "" => hierarchies.path_for(id, rootless),
            path if path.starts_with('/') => path.to_owned(),
            path => hierarchies.path_below("barge", path, rootless),
        })
    }
}

/// Returns what a configuration limits. Devices that every container has are never among it.
pub(super) fn resources(spec: &Spec) -> LinuxResources {
    let linux = spec.linux().as_ref();
    let mut resources = linux.and_then(|linux| linux.resources().clone()).unwrap_or_default();
    let limited = |rules: &Vec<LinuxDeviceCgroup>| rules.iter().any(|rule| !rule.allow());
    if let Some(rules) = resources.devices().clone().filter(limited) {
        let usual = bundle::usual_devices();
        resources.set_devices(Some(rules.into_iter().chain(usual).collect()));
    }
    resources
}
