//! `state` and `list`: what containers are doing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::Serialize;

use super::{OCI_VERSION, Runtime, Status};
use crate::error::{Context, Kind, Result};
use crate::spec::time;
use crate::store::bundle::Record;

/// A container's state as the OCI has it, and what runc adds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    oci_version: &'static str,
    /// Its name.
    pub id: String,
    /// Its first process; 0 if that has ended.
    pub pid: i32,
    /// What it is doing, in a word.
    pub status: &'static str,
    /// The directory that it was made of.
    pub bundle: PathBuf,
    /// Its root directory.
    pub rootfs: PathBuf,
    /// When it was created.
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    /// Whose it is.
    pub owner: String,
}

impl Runtime {
    /// Returns the state of a container.
    pub fn state(&self, id: &str) -> Result<State> {
        let record = self.bundles.get(id)?;
        self.state_of(record)
    }

    /// Returns the states of all containers, in the order of their names.
    pub fn list(&self) -> Result<Vec<State>> {
        let mut states = Vec::new();
        for record in self.bundles.list()? {
            let dir = self.bundles.dir(&record.id)?;
            let owner = fs::metadata(&dir).map(|found| user_name(found.uid())).unwrap_or_default();
            match self.state_of(record) {
                Ok(state) => states.push(State { owner, ..state }),
                // It was deleted meanwhile.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(states)
    }

    /// Tells whether a container has a state of this kind.
    pub(super) fn is(&self, record: &Record, statuses: &[Status]) -> Result<bool> {
        Ok(statuses.contains(&self.status(record)?))
    }

    fn state_of(&self, record: Record) -> Result<State> {
        let status = self.status(&record)?;
        let spec = self.bundles.spec(&record.id)?;
        Ok(State {
            oci_version: OCI_VERSION,
            pid: if status == Status::Stopped { 0 } else { record.pid },
            status: status.word(),
            created: time::rfc3339_short(record.created),
            annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
            owner: String::new(),
            id: record.id,
            bundle: record.bundle,
            rootfs: record.rootfs,
        })
    }
}

impl State {
    /// Writes it as JSON.
    pub fn json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context(|| "cannot encode the state")
    }
}

fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}
