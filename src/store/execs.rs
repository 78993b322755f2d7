//! Processes that were added to running containers: `RUNROOT/containers/HEX/exec/ID`, one small file
//! each, while they run.
//!
//! Who adds a process removes its file when it ends. One whose command was killed, or has left it to
//! itself, is watched by nobody: its file names a process that is gone, and readers take no notice of
//! it. It goes with the next process in the background, or when the container ends.

use std::fs;
use std::path::PathBuf;

use super::container::Containers;
use super::file;
use crate::error::Result;
use crate::spec::id::{ContainerId, is_hex};
use crate::sys::process;

/// The note of a process, removed when this is dropped.
#[derive(Debug)]
pub struct Exec {
    path: PathBuf,
}

impl Exec {
    /// Leaves the note where it is: the process goes on and nobody watches it.
    pub fn leave(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        if self.path != PathBuf::new() {
            // What cannot be removed names a process that is gone.
            drop(file::remove_file(&self.path));
        }
    }
}

impl Containers<'_> {
    /// Notes a process that was added to a container. `session` is 64 hexadecimal digits.
    pub fn note_exec(&self, id: &ContainerId, session: &str, pid: i32) -> Result<Exec> {
        let dir = self.execs_dir(id);
        file::create_dirs(&dir, 0o700)?;
        let path = dir.join(session);
        let start_time = process::start_time(pid).unwrap_or(0);
        file::write_volatile(&path, format!("{pid} {start_time}").as_bytes())?;
        Ok(Exec { path })
    }

    /// Returns the sessions of a container's processes that were added and run.
    pub fn execs(&self, id: &ContainerId) -> Vec<String> {
        self.noted_execs(id).into_iter().filter(|(_, runs)| *runs).map(|(name, _)| name).collect()
    }

    /// Returns the number of a process that was added and runs.
    pub fn exec_pid(&self, id: &ContainerId, session: &str) -> Option<i32> {
        let text = fs::read_to_string(self.execs_dir(id).join(session)).ok()?;
        let (pid, started) = text.split_once(' ')?;
        let pid = pid.parse().ok()?;
        process::is_running(pid, started.parse().ok()?).then_some(pid)
    }

    /// Removes the notes of processes that are gone.
    pub fn sweep_execs(&self, id: &ContainerId) {
        for (name, _) in self.noted_execs(id).into_iter().filter(|(_, runs)| !runs) {
            drop(file::remove_file(&self.execs_dir(id).join(name)));
        }
    }

    /// Removes all notes of a container that has ended.
    pub fn forget_execs(&self, id: &ContainerId) {
        // What stays names processes that are gone.
        drop(fs::remove_dir_all(self.execs_dir(id)));
    }

    fn noted_execs(&self, id: &ContainerId) -> Vec<(String, bool)> {
        // Most containers never had one; one that ends meanwhile has none.
        let Ok(entries) = fs::read_dir(self.execs_dir(id)) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        // Others are on their way to such a name.
        let mut names: Vec<String> = names.filter(|name| is_hex(name)).collect();
        names.sort_unstable();
        let runs = |name: &String| {
            let text = fs::read_to_string(self.execs_dir(id).join(name)).unwrap_or_default();
            let (pid, started) = text.split_once(' ').unwrap_or_default();
            let numbers = pid.parse().ok().zip(started.parse().ok());
            numbers.is_some_and(|(pid, started)| process::is_running(pid, started))
        };
        let noted = |name| {
            let is_running = runs(&name);
            (name, is_running)
        };
        names.into_iter().map(noted).collect()
    }

    fn execs_dir(&self, id: &ContainerId) -> PathBuf {
        self.run_dir(id).join("exec")
    }
}
