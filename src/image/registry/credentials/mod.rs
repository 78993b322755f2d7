//! Who we are to a registry: what `login` of barge, Podman or Docker left in their files, or in the
//! programs that these name.

mod file;
mod helper;
mod key;

use std::path::{Path, PathBuf};

pub(crate) use file::AuthFile;
use helper::Helper;
pub(crate) use key::Key;

use super::RegistryOptions;
use crate::error::{Context, Result};
use crate::spec::reference::{DEFAULT_REGISTRY, Reference};
use crate::store::registries;

/// The host that has the registry of Docker's own.
const DOCKER_HOST: &str = "registry-1.docker.io";

/// What proves who we are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// User name and password.
    Password(String, String),
    /// A token with which to get tokens, and the user that it stands for if that is known.
    Identity(String, String),
}

impl Credentials {
    /// Returns the user name; empty if it is not known.
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::Password(user, _) | Self::Identity(user, _) => user,
        }
    }
}

/// Finds the credentials for a repository, if there are any.
///
/// A file that is named explicitly must be there; others may be missing.
pub(crate) fn find(
    reference: &Reference,
    options: &RegistryOptions,
) -> Result<Option<Credentials>> {
    find_by_key(&Key::of(reference), options)
}

/// As [`find`], for a registry or a part of it.
pub(crate) fn find_by_key(key: &Key, options: &RegistryOptions) -> Result<Option<Credentials>> {
    if let Some(logins) = &options.logins
        && let Some(found) =
            file::look_up(key, Path::new("the credentials of the request"), logins)?
    {
        return Ok(Some(found));
    }
    if let Some(ask) = &options.login_source {
        // As clients of Docker know its own registry.
        let registry = match key.registry() {
            DEFAULT_REGISTRY => DOCKER_HOST,
            other => other,
        };
        match ask(registry)? {
            Some((user, token)) if user.is_empty() => {
                return Ok(Some(Credentials::Identity(user, token)));
            }
            Some((user, password)) => return Ok(Some(Credentials::Password(user, password))),
            None => {}
        }
    }
    let named = options.authfile.clone().or_else(|| variable("REGISTRY_AUTH_FILE"));
    find_with_helpers(key, || match &named {
        Some(path) => {
            let data = std::fs::read(path).context(|| format!("cannot read {}", path.display()))?;
            file::look_up(key, path, &data)
        }
        None => find_in_usual_files(key),
    })
}

/// Asks the files and the programs that `registries.conf` lists, in its order.
fn find_with_helpers(
    key: &Key,
    in_files: impl Fn() -> Result<Option<Credentials>>,
) -> Result<Option<Credentials>> {
    let mut failure = None;
    for keeper in keepers()? {
        let found = match keeper.as_str() {
            FILES => in_files(),
            program => Helper(program).get(key.registry()),
        };
        match found {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            // The next one may have what is wanted.
            Err(error) => drop(failure.get_or_insert(error)),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// What stands for the files among the programs that keep credentials.
const FILES: &str = "containers-auth.json";

/// Returns who keeps credentials: programs, and files.
fn keepers() -> Result<Vec<String>> {
    let configured = registries::read()?.credential_helpers().map(<[String]>::to_vec);
    Ok(configured.filter(|list| !list.is_empty()).unwrap_or_else(|| vec![FILES.to_owned()]))
}

fn find_in_usual_files(key: &Key) -> Result<Option<Credentials>> {
    let config =
        variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    let files = [
        runtime_file(),
        config.map(|dir| dir.join("containers/auth.json")),
        docker_directory().map(|dir| dir.join("config.json")),
    ];
    for path in files.into_iter().flatten() {
        // Missing as a rule; what is not ours to read is not for us.
        let Ok(data) = std::fs::read(&path) else { continue };
        if let Some(found) = file::look_up(key, &path, &data)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Returns the file that ends with the session or with the machine's uptime: Podman's first choice.
fn runtime_file() -> Option<PathBuf> {
    match variable("XDG_RUNTIME_DIR") {
        Some(dir) => Some(dir.join("containers/auth.json")),
        None => rustix::process::geteuid()
            .is_root()
            .then(|| PathBuf::from("/run/containers/0/auth.json")),
    }
}

fn docker_directory() -> Option<PathBuf> {
    variable("DOCKER_CONFIG").or_else(|| variable("HOME").map(|home| home.join(".docker")))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
