//! Starting our own executable anew, for what must not happen in this process: with which words, and
//! how the new process finds its way back to the same engine.
//!
//! By then it may be in a user namespace, where it looks like root: it is told what it really is.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Engine, EngineOptions};
use crate::error::{Error, Kind, Result};
use crate::spec::id::ContainerId;

/// How many words [`Engine::own_words`] makes.
const OWN: usize = 5;

/// How many words [`Engine::arguments`] makes; others may follow.
pub(super) const ARGUMENTS: usize = 6;

impl Engine {
    /// The words that start our executable anew under a name, with the same engine.
    pub fn own_words(&self, name: &str) -> Vec<Vec<u8>> {
        let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
        vec![
            name.as_bytes().to_vec(),
            path(self.store.root()),
            path(self.store.runroot()),
            path(&self.host.executable),
            u8::from(self.host.rootless).to_string().into_bytes(),
        ]
    }

    /// Opens the store in a process that was started with such words.
    pub fn from_own_words(words: &[OsString]) -> Result<Self> {
        let Some([_, root, runroot, executable, rootless]) = words.first_chunk::<OWN>() else {
            return Err(Error::new(
                Kind::Invalid,
                "this name is for processes that barge starts itself",
            ));
        };
        let (root, runroot) = (Some(PathBuf::from(root)), Some(PathBuf::from(runroot)));
        let mut engine = Self::open(&EngineOptions { root, runroot, ..EngineOptions::default() })?;
        engine.host.executable = PathBuf::from(executable);
        engine.host.rootless = rootless == "1";
        engine.power = engine.host.gain_power(&engine.store)?;
        Ok(engine)
    }

    /// As [`Engine::own_words`], for a container.
    pub(super) fn arguments(&self, name: &str, id: &ContainerId) -> Vec<Vec<u8>> {
        let mut words = self.own_words(name);
        words.push(id.as_str().as_bytes().to_vec());
        words
    }

    /// Opens the store in a process that was started with such words.
    pub(super) fn from_arguments(arguments: &[OsString]) -> Result<(Self, ContainerId)> {
        let engine = Self::from_own_words(arguments)?;
        let id = arguments.get(OWN).map(|id| id.to_string_lossy()).unwrap_or_default();
        Ok((engine, id.parse()?))
    }
}
