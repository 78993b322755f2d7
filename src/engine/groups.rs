//! Where the control group of a container is.

use super::Engine;
use crate::error::Result;
use crate::runtime::cgroup::Hierarchies;
use crate::store::container::ContainerConfig;

impl Engine {
    /// Returns the path of a container's group below each hierarchy's mount point; empty for none.
    pub(super) fn group_of(
        &self,
        config: &ContainerConfig,
        hierarchies: &Hierarchies,
    ) -> Result<String> {
        if let Some(other) = config.settings.debugged.as_ref().filter(|other| other.runs) {
            let donor = self.donor(&other.id.parse()?)?;
            let group = donor.state.run().map_or("", |run| run.cgroup.as_str());
            return Ok(match group {
                "" => String::new(),
                // The limits of the other one are its own.
                group => format!("{group}/debug-{}", config.id.short()),
            });
        }
        Ok(hierarchies.path_for(config.id.as_str(), self.host.rootless))
    }
}
