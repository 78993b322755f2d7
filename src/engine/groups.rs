//! Where the control group of a container is.

use super::Engine;
use crate::error::Result;
use crate::runtime::cgroup::Hierarchies;
use crate::spec::group::CgroupsMode;
use crate::store::container::ContainerConfig;

impl Engine {
    /// Returns the path of a container's group below each hierarchy's mount point; empty for none.
    pub(super) fn group_of(
        &self,
        config: &ContainerConfig,
        hierarchies: &Hierarchies,
    ) -> Result<String> {
        let (settings, id) = (&config.settings, config.id.as_str());
        if let Some(other) = settings.debugged.as_ref().filter(|other| other.runs) {
            let donor = self.donor(&other.id.parse()?)?;
            let group = donor.state.run().map_or("", |run| run.cgroup.as_str());
            return Ok(match group {
                "" => String::new(),
                // The limits of the other one are its own.
                group => format!("{group}/debug-{}", config.id.short()),
            });
        }
        match (settings.cgroups, &settings.cgroup_parent) {
            (CgroupsMode::Disabled, _) => Ok(String::new()),
            (CgroupsMode::Split, _) => hierarchies.path_beside_us(id),
            (CgroupsMode::Enabled, None) => Ok(hierarchies.path_for(id, self.host.rootless)),
            (CgroupsMode::Enabled, Some(parent)) => {
                Ok(hierarchies.path_below(parent.as_str(), id, self.host.rootless))
            }
        }
    }
}
