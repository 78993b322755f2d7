//! `unshare`: a command in the user namespace that containers without root live in.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::process::{self, Words};
use crate::sys::userns;

impl Engine {
    /// Replaces this process, which is in the user namespace already, by a command with mounts of its
    /// own. Returns only on failure.
    pub fn unshare(&self, command: &[String]) -> Result<Infallible> {
        if !self.host.rootless {
            return Err(Error::new(Kind::Unsupported, "please use unshare with rootless")
                .hint("root needs no user namespace: run the command as it is"));
        }
        let name = command.first().map(String::as_str).unwrap_or_default();
        let program = find(name).ok_or_else(|| {
            Error::new(Kind::CommandNotFound, format!("cannot run `{name}`: it is not in PATH"))
        })?;
        userns::own_mounts().context(|| "cannot make a mount namespace")?;
        let path = CString::new(program.as_os_str().as_bytes()).map_err(|_| {
            Error::new(Kind::Invalid, format!("cannot run `{name}`: it has a zero byte"))
        })?;
        let args = Words::new(command).context(|| format!("cannot run `{name}`"))?;
        // A barge that is run there is root, and would take root's store for its own.
        let places = [("BARGE_ROOT", self.store.root()), ("BARGE_RUNROOT", self.store.runroot())];
        let places = places.map(|(name, path)| (OsString::from(name), path.into()));
        let is_other = |(name, _): &(OsString, OsString)| places.iter().all(|(own, _)| own != name);
        let variables = std::env::vars_os().filter(is_other).chain(places.clone());
        let variables = variables.map(|(name, value)| {
            let mut entry = name.into_encoded_bytes();
            entry.push(b'=');
            entry.extend(value.into_encoded_bytes());
            entry
        });
        let env = Words::new(variables).context(|| "cannot pass on the environment")?;
        process::exec(&path, &args, &env).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => Kind::CommandNotFound,
                _ => Kind::CommandNotExecutable,
            };
            Error::new(kind, format!("cannot run `{name}`")).caused_by(error)
        })
    }
}

/// Finds a program as a shell does.
fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
