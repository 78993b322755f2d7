//! Starting our own executable anew, for what must not happen in this process: with which words, and
//! how the new process finds its way back to the same engine.
//!
//! By then it may be in a user namespace, where it looks like root: it is told what it really is.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Engine, EngineOptions};
use crate::error::{Error, Kind, Result};
use crate::spec::id::ContainerId;

/// How many words [`Engine::arguments`] makes; others may follow.
pub(super) const ARGUMENTS: usize = 6;

impl Engine {
    /// The words that start our executable anew under a name, for a container.
    pub(super) fn arguments(&self, name: &str, id: &ContainerId) -> Vec<Vec<u8>> {
        let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
        vec![
            name.as_bytes().to_vec(),
            path(self.store.root()),
            path(self.store.runroot()),
            id.as_str().as_bytes().to_vec(),
            path(&self.host.executable),
            u8::from(self.host.rootless).to_string().into_bytes(),
        ]
    }

    /// Opens the store in a process that was started with such words.
    pub(super) fn from_arguments(arguments: Vec<OsString>) -> Result<(Self, ContainerId)> {
        let mut words = arguments.into_iter().skip(1);
        let mut next = || {
            words.next().ok_or_else(|| {
                Error::new(Kind::Invalid, "this name is for processes that barge starts itself")
            })
        };
        let root = Some(PathBuf::from(next()?));
        let runroot = Some(PathBuf::from(next()?));
        let id = String::from_utf8_lossy(&next()?.into_vec()).parse()?;
        let executable = PathBuf::from(next()?);
        let rootless = next()? == "1";
        let mut engine = Self::open(&EngineOptions { root, runroot, ..EngineOptions::default() })?;
        engine.host.executable = executable;
        engine.host.rootless = rootless;
        engine.power = engine.host.gain_power(&engine.store)?;
        Ok((engine, id))
    }
}
