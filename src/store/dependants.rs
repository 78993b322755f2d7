//! Which containers need which others: those in whose namespaces they are.
//!
//! Each container's directory has an empty file for every container that depends on it, named by that
//! one's ID: `containers/DONOR/dependants/ID`. The mark is made before the dependant is on record, so
//! that the donor cannot go away in between, and is removed with the dependant. One whose container is
//! gone says nothing.

use std::fs;
use std::io::ErrorKind;

use super::container::{ContainerConfig, Containers};
use super::file;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::namespace::Existing;
use crate::spec::network::NetworkMode;
use crate::spec::userns::UsernsMode;

impl ContainerConfig {
    /// Returns the containers that it cannot run without.
    pub fn donors(&self) -> Vec<ContainerId> {
        // What looks into another container ends with it, and is in nobody's way.
        if self.settings.debugged.is_some() {
            return Vec::new();
        }
        let network = match &self.settings.network {
            NetworkMode::Container(id) => Some(Existing::Container(id)),
            _ => None,
        };
        let users = match &self.settings.users.mode {
            UsernsMode::Container(id) => Some(Existing::Container(id)),
            _ => None,
        };
        let existing = self.settings.namespaces.existing().map(|(_, existing)| existing);
        let mut donors: Vec<ContainerId> = existing
            .chain(network)
            .chain(users)
            .filter_map(|existing| match existing {
                // Names were replaced when it was created.
                Existing::Container(id) => id.parse().ok(),
                Existing::Path(_) => None,
            })
            .chain(self.settings.requires.iter().filter_map(|id| id.parse().ok()))
            .collect();
        donors.sort();
        donors.dedup();
        donors
    }
}

impl Containers<'_> {
    /// Returns the containers that depend on one.
    pub fn dependants(&self, id: &ContainerId) -> Result<Vec<ContainerId>> {
        let dir = self.dir(id).join("dependants");
        let context = || format!("cannot list {}", dir.display());
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context(context)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.context(context)?.file_name();
            let Some(Ok(dependant)) = name.to_str().map(str::parse::<ContainerId>) else {
                continue;
            };
            if self.dir(&dependant).exists() {
                found.push(dependant);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Marks that a container that is about to be recorded depends on its donors.
    pub(super) fn note_dependant(&self, config: &ContainerConfig) -> Result<()> {
        for donor in config.donors() {
            let dir = self.dir(&donor).join("dependants");
            match fs::create_dir(&dir) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(gone(&donor)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                other => other.context(|| format!("cannot make {}", dir.display()))?,
            }
            let mark = dir.join(config.id.as_str());
            fs::write(&mark, "").context(|| format!("cannot write {}", mark.display()))?;
        }
        Ok(())
    }

    /// Makes sure that all donors of a container that was just recorded are there: one that was removed
    /// before its directory was made has not seen it.
    pub(super) fn check_donors(&self, config: &ContainerConfig) -> Result<()> {
        match config.donors().iter().find(|donor| !self.dir(donor).join("config.json").exists()) {
            Some(donor) => Err(gone(donor)),
            None => Ok(()),
        }
    }

    /// Removes the marks of a container that is no more.
    pub(super) fn forget_dependant(&self, config: &ContainerConfig) -> Result<()> {
        for donor in config.donors() {
            file::remove_file(&self.dir(&donor).join("dependants").join(config.id.as_str()))?;
        }
        Ok(())
    }
}

fn gone(donor: &ContainerId) -> Error {
    Error::new(
        Kind::NotFound,
        format!("no container with name or ID \"{donor}\" found: no such container"),
    )
    .hint("it was removed while this one was created")
}
