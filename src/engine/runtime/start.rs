//! `start`: lets a container's first process become the user's program.

use oci_spec::runtime::Spec;

use super::{Runtime, Status, conflict};
use crate::error::Result;
use crate::runtime::{Bundle, Gate};

impl Runtime {
    /// Starts a container that was created; returns warnings.
    pub fn start(&self, id: &str) -> Result<Vec<String>> {
        let record = self.bundles.get(id)?;
        // Of two who start it at once, one finds the gate open.
        if !Gate::open(&self.bundles.gate(id)?)? {
            return Err(conflict(match self.status(&record)? {
                Status::Stopped => "cannot start a container that has stopped",
                _ => "cannot start an already running container",
            }));
        }
        let spec = self.bundles.spec(id)?;
        Ok(self.poststart(id, &spec))
    }

    /// Runs the hooks that follow the start. It runs by then; that is not undone if one fails.
    pub(super) fn poststart(&self, id: &str, spec: &Spec) -> Vec<String> {
        let Some(hooks) = spec.hooks() else { return Vec::new() };
        let ran = self.bundles.get(id).and_then(|record| {
            let annotations = spec.annotations().as_ref();
            let told = Bundle { id, directory: &record.bundle, annotations };
            told.run("poststart", hooks.poststart().as_deref(), "running", record.pid)
        });
        ran.err().map(|error| error.to_string()).into_iter().collect()
    }
}
