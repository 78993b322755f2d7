//! Looking at containers: their records are repaired before anybody sees them.

use super::Engine;
use crate::error::{Kind, Result};
use crate::store::container::Container;

impl Engine {
    /// Returns all containers, the newest first.
    pub fn list(&self) -> Result<Vec<Container>> {
        let mut containers = Vec::new();
        let mut unfinished = false;
        for id in self.store.containers().ids()? {
            match self.repaired(&id) {
                Ok(container) => containers.push(container),
                // It is being made or removed, or that was cut off.
                Err(error) if error.kind() == Kind::NotFound => unfinished = true,
                Err(error) => return Err(error),
            }
        }
        if unfinished {
            // Those who only look may lack the power for it.
            drop(self.sweep());
        }
        containers.sort_by(|a, b| {
            (b.config.created, &b.config.id).cmp(&(a.config.created, &a.config.id))
        });
        Ok(containers)
    }

    /// Finds a container by what a user wrote.
    pub fn lookup(&self, text: &str) -> Result<Container> {
        let id = self.store.containers().lookup(text)?;
        self.repaired(&id)
    }
}
