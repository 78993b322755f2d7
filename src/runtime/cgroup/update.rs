//! Other limits for a container that runs.

use oci_spec::runtime::LinuxResources;

use super::hierarchy::words;
use super::{Cgroup, Directory, Hierarchies, enable, has, remove_tree, settings, write};
use crate::error::{Context, Error, Kind, Result};

impl Cgroup {
    /// Changes limits of a group that [`open`](Self::open) has opened by the same path. Returns warnings
    /// about those that cannot be applied here.
    ///
    /// Version 1 controllers that were not wanted until now get their directories, and the processes
    /// are moved there.
    pub fn update(
        &mut self,
        hierarchies: &Hierarchies,
        path: &str,
        resources: &LinuxResources,
    ) -> Result<Vec<String>> {
        let settings = settings(hierarchies, resources)?;
        if self.is_none() {
            return self.apply(&settings);
        }
        self.check_before_update(resources)?;
        let known = self.v1.len();
        for hierarchy in &hierarchies.v1 {
            let wanted = settings.iter().any(|setting| hierarchy.has(&setting.controller));
            if wanted && !self.v1.iter().any(|own| own.controllers == hierarchy.controllers) {
                self.add_hierarchy(hierarchy, path)?;
            }
        }
        if let Some(v2) = &self.v2 {
            let mount = hierarchies.v2.as_ref().map(|v2| v2.mount.clone()).unwrap_or_default();
            enable(&mount, &v2.path, settings.iter().map(|setting| setting.controller.as_ref()));
        }
        // What is refused is refused before anything is moved.
        let applied = self.apply(&settings).and_then(|warnings| {
            self.v1[known..].iter().try_for_each(|new| self.move_to(new))?;
            Ok(warnings)
        });
        if applied.is_err() {
            for new in self.v1.drain(known..) {
                // One that holds processes stays, and goes with the container.
                drop(remove_tree(&new.path));
            }
        }
        applied
    }

    /// Refuses a limit of memory below what is used, for those who asked for that: the kernel would end
    /// processes until there is less.
    fn check_before_update(&self, resources: &LinuxResources) -> Result<()> {
        let Some(memory) = resources.memory() else { return Ok(()) };
        let limit = memory.limit().and_then(|limit| u64::try_from(limit).ok());
        let (Some(limit), Some(true)) = (limit, memory.check_before_update()) else {
            return Ok(());
        };
        let v1 = self.v1.iter().find(|directory| has(directory, "memory"));
        let file = match (v1, &self.v2) {
            (Some(v1), _) => v1.path.join("memory.usage_in_bytes"),
            (None, Some(v2)) => v2.path.join("memory.current"),
            (None, None) => return Ok(()),
        };
        let used = words(&file).first().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        if limit >= used {
            return Ok(());
        }
        let text = format!("cannot limit memory to {limit} bytes: {used} are in use");
        Err(Error::new(Kind::Conflict, text))
    }

    /// Moves all processes to a directory that was added.
    fn move_to(&self, new: &Directory) -> Result<()> {
        let list = new.path.join("cgroup.procs");
        loop {
            let there = words(&list);
            let missing: Vec<i32> = self
                .processes()?
                .into_iter()
                .filter(|pid| !there.contains(&pid.to_string()))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            for pid in missing {
                match write(&list, &pid.to_string()) {
                    // It ended by itself.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    other => other
                        .context(|| format!("cannot add process {pid} to {}", list.display()))?,
                }
            }
        }
    }
}
