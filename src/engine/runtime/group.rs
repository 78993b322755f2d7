//! Where the control group of a container is, and what it limits.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources, Spec};

use super::Runtime;
use crate::engine::bundle;
use crate::error::Result;
use crate::runtime::cgroup::systemd::{self, Bus, Scope, Unit};
use crate::runtime::cgroup::{Cgroup, Hierarchies};

/// Where a container's control group is.
pub(super) enum Place {
    /// At a path below each mount point; empty for none.
    Path(String),
    /// In a scope of systemd's, which is yet to be made.
    Unit(Unit),
}

impl Place {
    /// Returns the path, as far as it is known yet.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Path(path) => path,
            Self::Unit(_) => "",
        }
    }

    /// Returns the name of the unit, if there is one.
    pub(super) fn unit(&self) -> Option<String> {
        match self {
            Self::Path(_) => None,
            Self::Unit(unit) => Some(unit.name().to_owned()),
        }
    }
}

impl Runtime {
    /// Decides where a container's control group is.
    ///
    /// A path from the top is taken as it is, any other lies below the place for barge's containers.
    pub(super) fn place(&self, spec: &Spec, id: &str, hierarchies: &Hierarchies) -> Result<Place> {
        let linux = spec.linux().as_ref();
        let asked = linux.and_then(|linux| linux.cgroups_path().as_ref());
        let asked = asked.map(|path| path.to_string_lossy()).unwrap_or_default();
        if self.systemd {
            systemd::check(hierarchies)?;
            return Unit::parse(&asked, id, self.bus(self.host.rootless)).map(Place::Unit);
        }
        let rootless = self.host.rootless;
        Ok(Place::Path(match asked.as_ref() {
            "" => hierarchies.path_for(id, rootless),
            path if path.starts_with('/') => path.to_owned(),
            path => hierarchies.path_below("barge", path, rootless),
        }))
    }

    /// Makes a container's group; the scope of systemd that it is in is kept by what is returned beside.
    pub(super) fn make_group(
        &self,
        hierarchies: &Hierarchies,
        place: &Place,
        id: &str,
        spec: &Spec,
    ) -> Result<(Cgroup, Option<Scope>, Vec<String>)> {
        let resources = resources(spec);
        let rootless = self.host.rootless;
        let unit = match place {
            Place::Path(path) => {
                let (group, warnings) = Cgroup::create(hierarchies, path, &resources, rootless)?;
                return Ok((group, None, warnings));
            }
            Place::Unit(unit) => unit,
        };
        if rootless {
            systemd::leave_session(hierarchies, self.host.uid)?;
        }
        let properties = spec.annotations().iter().flatten();
        let properties = properties.filter_map(|(name, value)| systemd::property(name, value));
        let scope = unit.start(hierarchies, id, &resources, properties.collect::<Result<_>>()?)?;
        match Cgroup::create_in_scope(hierarchies, &scope, &resources, rootless) {
            Ok((group, warnings)) => Ok((group, Some(scope), warnings)),
            Err(error) => {
                drop(scope);
                // What failed first is the news.
                drop(unit.stop());
                Err(error)
            }
        }
    }

    /// Removes a container's group and the unit that it is in. What still runs there is killed.
    pub(super) fn remove_group(
        &self,
        group: &Cgroup,
        unit: Option<&str>,
        rootless: bool,
    ) -> Result<()> {
        match unit {
            None => group.remove(),
            Some(name) => {
                // The directory is systemd's, and gone with the unit.
                group.end_all()?;
                Unit::named(name, self.bus(rootless)).stop()?;
                group.remove()
            }
        }
    }

    /// Whose systemd makes the groups.
    pub(super) fn bus(&self, rootless: bool) -> Bus {
        if rootless { Bus::User(self.host.uid) } else { Bus::System }
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
