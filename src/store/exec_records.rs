//! Processes that clients of the API have asked for, to be added to running containers:
//! `RUNROOT/execs/ID`, one file each, and beside it what has become of it.
//!
//! A client asks for a process, starts it by another request, and asks how it ended by a third one, in which
//! the container may be gone and the service another one. So it is written down, until some time after
//! its end.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Store;
use super::file;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::{ContainerId, is_hex};

/// How long it is known how a process has ended.
const KEPT: Duration = Duration::from_mins(10);

/// A process that is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecRecord {
    /// The container that it is added to.
    pub container: ContainerId,
    /// What is asked for, in the words of who reads it.
    pub asked: Value,
}

/// What has become of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecState {
    /// Whether somebody has begun to start it.
    pub begun: bool,
    /// How it ended, if it has.
    pub exit_code: Option<i32>,
}

/// The processes that clients have asked for.
#[derive(Clone, Copy, Debug)]
pub struct ExecRecords<'a> {
    store: &'a Store,
}

impl Store {
    /// Returns the processes that clients have asked for.
    pub fn exec_records(&self) -> ExecRecords<'_> {
        ExecRecords { store: self }
    }
}

impl ExecRecords<'_> {
    fn dir(&self) -> PathBuf {
        self.store.runroot().join("execs")
    }

    fn path(&self, id: &str) -> Result<PathBuf> {
        match id.len() == 64 && is_hex(id) {
            true => Ok(self.dir().join(id)),
            false => Err(unknown(id)),
        }
    }

    /// Writes down what is asked for. `id` is 64 hexadecimal digits.
    pub fn create(&self, id: &str, record: &ExecRecord) -> Result<()> {
        file::create_dirs(&self.dir(), 0o700)?;
        self.sweep();
        let text = serde_json::to_vec(record).context(|| "cannot encode what to run")?;
        file::write_volatile(&self.path(id)?, &text)
    }

    /// Reads what is asked for.
    pub fn get(&self, id: &str) -> Result<ExecRecord> {
        let path = self.path(id)?;
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(unknown(id)),
            other => other.context(|| format!("cannot read {}", path.display()))?,
        };
        serde_json::from_slice(&text).context(|| format!("cannot read {}", path.display()))
    }

    /// Says that it is about to be started; `false` if somebody has said so before.
    pub fn begin(&self, id: &str) -> Result<bool> {
        let path = self.path(id)?.with_extension("begun");
        match fs::File::options().write(true).create_new(true).open(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error).context(|| format!("cannot write {}", path.display())),
        }
    }

    /// Says how it ended, unless that is known.
    pub fn finish(&self, id: &str, code: i32) -> Result<()> {
        if self.state(id)?.exit_code.is_some() {
            return Ok(());
        }
        let path = self.path(id)?.with_extension("ended");
        file::write_volatile(&path, code.to_string().as_bytes())
    }

    /// Tells what has become of it.
    pub fn state(&self, id: &str) -> Result<ExecState> {
        let path = self.path(id)?;
        let code = fs::read_to_string(path.with_extension("ended")).ok();
        Ok(ExecState {
            begun: path.with_extension("begun").exists(),
            exit_code: code.and_then(|code| code.parse().ok()),
        })
    }

    /// Forgets those that have ended some time ago, and those of containers that are gone.
    fn sweep(&self) {
        // What cannot be read or removed now is met again.
        let Ok(entries) = fs::read_dir(self.dir()) else { return };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        for id in names.filter(|name| is_hex(name)) {
            let Ok(path) = self.path(&id) else { continue };
            let ended = path.with_extension("ended");
            let age = fs::metadata(&ended).and_then(|it| it.modified()).ok();
            let is_old = age.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > KEPT);
            let is_orphan = || {
                self.get(&id)
                    .is_ok_and(|record| !self.store.containers().dir(&record.container).exists())
            };
            if is_old || (!ended.exists() && is_orphan()) {
                for path in [&ended, &path.with_extension("begun"), &path] {
                    drop(fs::remove_file(path));
                }
            }
        }
    }
}

fn unknown(id: &str) -> Error {
    Error::new(Kind::NotFound, format!("No such exec instance: {id}"))
}
