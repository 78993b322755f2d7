//! Which host a command is for.
//!
//! Flags go over the environment, and an address over a name. Nothing of it reads a file unless a connection
//! is named: what runs here is not held up.

use std::env;
use std::path::{Path, PathBuf};

use super::address::Address;
use super::connections::Connections;
use super::secure::TlsAsked;
use crate::error::{Context, Result};
use crate::spec::mount::parse_bool;

/// What Docker and we call this machine among the hosts.
const HERE: &str = "default";

/// What flags say about the host.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// An address.
    pub url: Option<String>,
    /// The name of a connection.
    pub connection: Option<String>,
    /// Whether the usual connection is meant.
    pub usual: bool,
    /// The key for `ssh`.
    pub identity: Option<PathBuf>,
    /// How TLS is asked for.
    pub tls: TlsAsked,
}

/// A host, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    /// The key for `ssh`.
    pub identity: Option<PathBuf>,
    /// How TLS is asked for.
    pub tls: TlsAsked,
}

impl Target {
    /// Tells whether what goes there is encrypted by TLS.
    pub fn is_secure(&self) -> bool {
        match &self.address {
            Address::Tcp { secure, .. } => secure.unwrap_or(self.tls.wanted),
            _ => false,
        }
    }
}

/// Says which host a command is for; `None` is this one.
pub fn choose(asked: Asked) -> Result<Option<Target>> {
    let Asked { url, connection, usual, identity, tls } = asked;
    let (address, from) = match (url, connection) {
        (Some(url), _) => (Some(url), "--url"),
        (None, Some(name)) => return named(&name, identity, tls),
        (None, None) if usual => {
            let connections = Connections::read()?;
            return connections.usual()?.target(identity, tls).map(Some);
        }
        (None, None) => match (variable("CONTAINER_HOST"), variable("DOCKER_HOST")) {
            (Some(url), _) => (Some(url), "CONTAINER_HOST"),
            (None, Some(url)) => (Some(url), "DOCKER_HOST"),
            (None, None) => (None, ""),
        },
    };
    if let Some(text) = address {
        let address = text.parse::<Address>().context(|| format!("cannot use {from}"))?;
        return Ok(Some(target(address, identity, tls)));
    }
    match variable("CONTAINER_CONNECTION").or_else(|| variable("DOCKER_CONTEXT")) {
        Some(name) => named(&name, identity, tls),
        None => Ok(None),
    }
}

fn named(name: &str, identity: Option<PathBuf>, tls: TlsAsked) -> Result<Option<Target>> {
    if name == HERE {
        return Ok(None);
    }
    Connections::read()?.get(name)?.target(identity, tls).map(Some)
}

/// Adds to an address what the environment says about the way.
pub(super) fn target(address: Address, identity: Option<PathBuf>, mut tls: TlsAsked) -> Target {
    let identity = identity.or_else(|| variable("CONTAINER_SSHKEY").map(PathBuf::from));
    if matches!(address, Address::Tcp { .. }) {
        if variable("DOCKER_TLS_VERIFY").is_some_and(|text| parse_bool(&text) != Some(false)) {
            tls.wanted = true;
            tls.verify.get_or_insert(true);
        }
        tls.wanted |= variable("DOCKER_TLS").is_some_and(|text| parse_bool(&text) != Some(false));
        let secure = matches!(address, Address::Tcp { secure: Some(true), .. });
        if tls.wanted || secure {
            match variable("DOCKER_CERT_PATH") {
                Some(dir) => tls.take_directory(Path::new(&dir), true),
                None => {
                    let config = variable("DOCKER_CONFIG")
                        .map(PathBuf::from)
                        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker")));
                    if let Some(dir) = config {
                        tls.take_directory(&dir, false);
                    }
                }
            }
        }
    }
    Target { address, identity, tls }
}

/// Reads a variable; one that is empty is not set.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
