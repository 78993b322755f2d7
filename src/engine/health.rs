//! `healthcheck run`, and waiting for a container to be well.

use super::Engine;
use crate::error::{Error, Kind, Result};
use crate::spec::id::ContainerId;

impl Engine {
    /// Probes a container's health now, through its monitor; tells whether the probe succeeded.
    pub fn probe_health(&self, name: &str) -> Result<bool> {
        let container = self.lookup(name)?;
        if container.config.health.is_none() {
            return Err(no_check(container.id()));
        }
        let not_running = || {
            Error::new(Kind::Conflict, format!("container {} is not running", container.id()))
                .hint(format!("start it with `barge start {name}`"))
        };
        let run = container.state.run().ok_or_else(not_running)?;
        let Some(mut session) = self.watch(container.id(), run)? else {
            return Err(not_running());
        };
        session.probe()?.ok_or_else(not_running)
    }
}

/// The error for a container whose health nobody probes.
pub(super) fn no_check(id: &ContainerId) -> Error {
    Error::new(Kind::Conflict, format!("container {id} has no defined healthcheck"))
        .hint("give it one with --health-cmd when it is created")
}
