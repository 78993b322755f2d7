//! Looking at containers: their records are repaired before anybody sees them.

use super::Engine;
use crate::error::{Kind, Result};
use crate::store::container::Container;

impl Engine {
    /// Returns all containers, the newest first.
    pub fn list(&self) -> Result<Vec<Container>> {
        let all = self.store.containers();
        let ids = all.ids()?;
        let found = all.get_all(&ids)?;
        // It is being made or removed, or that was cut off.
        let mut unfinished = found.len() < ids.len();
        let mut containers = Vec::with_capacity(found.len());
        for container in found {
            match self.repaired_now(container) {
                Ok(container) => containers.push(container),
                Err(error) if error.kind() == Kind::NotFound => unfinished = true,
                Err(error) => return Err(error),
            }
        }
        if unfinished {
            // Those who only look may lack the power for it.
            drop(self.sweep());
        }
        sort(&mut containers);
        Ok(containers)
    }

    /// Returns the containers that run or will again in a moment, the newest first: of the others only the state is read.
    pub fn list_running(&self) -> Result<Vec<Container>> {
        let containers = self.store.containers();
        let mut running = Vec::new();
        for id in containers.ids()? {
            if !matches!(containers.state(&id)?, Some(state) if state.is_up()) {
                continue;
            }
            match self.repaired(&id) {
                Ok(container) if container.state.is_up() => running.push(container),
                // It has ended meanwhile, or is gone.
                Ok(_) => {}
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        sort(&mut running);
        Ok(running)
    }

    /// Finds a container by what a user wrote.
    pub fn lookup(&self, text: &str) -> Result<Container> {
        let id = self.store.containers().lookup(text)?;
        self.repaired(&id)
    }
}

fn sort(containers: &mut [Container]) {
    containers
        .sort_by(|a, b| (b.config.created, &b.config.id).cmp(&(a.config.created, &a.config.id)));
}
