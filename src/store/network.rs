//! Networks that users have made.
//!
//! `networks/NAME.json` is one network; it never changes but for its name servers. Whoever makes or
//! removes one holds `networks.lock`, and whoever records a container that is on one holds it with
//! others of its kind: a network does not go while a container comes to it. The default network has no
//! record. What is so of a network since the last boot is [`super::lease`]'s.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::{Store, file};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::closest::closest;
use crate::spec::id::is_hex;
use crate::spec::membership::{DEFAULT_ALIAS, DEFAULT_NETWORK};
use crate::spec::name;
use crate::spec::network_spec::NetworkSpec;

/// What the ID of the default network is: the same in every store, as Podman has it.
const DEFAULT_ID: &str = "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9";

/// A network, as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its ID: 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made, in nanoseconds since 1970.
    pub created: i64,
    /// The interface of this machine that it is.
    pub interface: String,
    /// What was asked for, with what was chosen.
    #[serde(flatten)]
    pub spec: NetworkSpec,
}

impl Network {
    /// Tells whether it is the one that is there from the beginning.
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT_NETWORK
    }
}

/// All networks of a store.
#[derive(Clone, Copy, Debug)]
pub struct Networks<'a> {
    store: &'a Store,
}

/// Networks that stay as they are as long as this lives.
#[derive(Debug)]
pub struct HeldNetworks(#[expect(dead_code, reason = "unlocks when it is dropped")] Lock);

/// The right to make and remove networks.
#[derive(Debug)]
pub struct LockedNetworks<'a> {
    networks: Networks<'a>,
    _lock: Lock,
}

impl<'a> Networks<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    fn directory(&self) -> PathBuf {
        self.store.root.join("networks")
    }

    fn record(&self, name: &str) -> PathBuf {
        // Not by `with_extension`: names have dots.
        self.directory().join(format!("{name}.json"))
    }

    fn lock_path(&self) -> PathBuf {
        self.store.root.join("networks.lock")
    }

    /// Reads the network of a name; the default one has no record and is always there.
    pub fn get(&self, name: &str) -> Result<Option<Network>> {
        match name {
            DEFAULT_NETWORK | DEFAULT_ALIAS => Ok(Some(default_network())),
            name if name::parse(name).as_deref().ok() != Some(name) => Ok(None),
            name => file::read_json(&self.record(name)),
        }
    }

    /// Reads all networks, by name.
    pub fn list(&self) -> Result<Vec<Network>> {
        let directory = self.directory();
        let context = || format!("cannot list {}", directory.display());
        let mut networks = vec![default_network()];
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(networks),
            Err(error) => return Err(error).context(context),
        };
        for entry in entries {
            let name = entry.context(context)?.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            // Removed as we look.
            networks.extend(file::read_json::<Network>(&self.record(name))?);
        }
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(networks)
    }

    /// Finds a network by its name, its ID, or the beginning of its ID if that is unique.
    pub fn lookup(&self, text: &str) -> Result<Network> {
        if let Some(network) = self.get(text)? {
            return Ok(network);
        }
        let all = self.list()?;
        let begins = |network: &&Network| is_hex(text) && network.id.starts_with(text);
        let found: Vec<&Network> = all.iter().filter(begins).collect();
        match found.as_slice() {
            [network] => Ok((*network).clone()),
            [] => {
                let message =
                    format!("unable to find network with name or ID {text}: network not found");
                let error = Error::new(Kind::NotFound, message);
                Err(match closest(text, all.iter().map(|network| network.name.as_str())) {
                    Some(close) => error.hint(format!("did you mean `{close}`?")),
                    None => error,
                })
            }
            _ => {
                let message =
                    format!("more than one network has an ID that begins with \"{text}\"");
                Err(Error::new(Kind::Conflict, message).hint("give more digits, or a name"))
            }
        }
    }

    /// Keeps all networks from being removed until a container that is on some is on record.
    pub fn hold(&self) -> Result<HeldNetworks> {
        Lock::shared(&self.lock_path()).map(HeldNetworks)
    }

    /// Waits until nobody else makes or removes networks, nor records a container that is on one.
    pub fn lock(&self) -> Result<LockedNetworks<'a>> {
        Ok(LockedNetworks { networks: *self, _lock: Lock::exclusive(&self.lock_path())? })
    }
}

impl LockedNetworks<'_> {
    /// Makes or replaces a network.
    pub fn save(&self, network: &Network) -> Result<()> {
        file::create_dirs(&self.networks.directory(), 0o700)?;
        let path = self.networks.record(&network.name);
        let data =
            serde_json::to_vec(network).context(|| format!("cannot encode {}", path.display()))?;
        file::write_secret(&path, &data)
    }

    /// Removes records that somebody has begun to write who was killed.
    pub fn sweep(&self) -> Result<()> {
        file::remove_half_written(&self.networks.directory())
    }

    /// Forgets a network; `false` if there is none.
    pub fn remove(&self, network: &Network) -> Result<bool> {
        if self.networks.get(&network.name)?.is_none_or(|now| now.id != network.id) {
            return Ok(false);
        }
        let path = self.networks.record(&network.name);
        file::remove_file(&path)?;
        file::sync_parent(&path).context(|| format!("cannot remove {}", path.display()))?;
        Ok(true)
    }
}

impl Store {
    /// Returns the networks that users have made.
    pub fn networks(&self) -> Networks<'_> {
        Networks::new(self)
    }
}

fn default_network() -> Network {
    Network {
        id: DEFAULT_ID.to_owned(),
        name: DEFAULT_NETWORK.to_owned(),
        created: 0,
        interface: String::new(),
        spec: NetworkSpec::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        let networks = store.networks();
        let network = |name: &str, id: &str| Network {
            id: id.repeat(64),
            name: name.to_owned(),
            created: 1,
            interface: "barge1".to_owned(),
            spec: NetworkSpec::default(),
        };
        let locked = networks.lock().unwrap();
        for (name, id) in [("a.b", "a"), ("a", "b")] {
            locked.save(&network(name, id)).unwrap();
        }
        let names = |all: Vec<Network>| all.into_iter().map(|it| it.name).collect::<Vec<_>>();
        assert_eq!(names(networks.list().unwrap()), ["a", "a.b", "podman"]);
        for (text, want) in [
            ("a.b", Some("a.b")),
            ("aaa", Some("a.b")),
            ("bbbb", Some("a")),
            ("bridge", Some("podman")),
            ("2f259", Some("podman")),
            ("../a", None),
            ("/a", None),
            ("c", None),
            ("", None),
        ] {
            let got = networks.lookup(text).ok().map(|it| it.name);
            assert_eq!(got.as_deref(), want, "{text}");
        }
        assert!(locked.remove(&network("a", "b")).unwrap());
        assert!(!locked.remove(&network("a", "b")).unwrap());
        assert!(!locked.remove(&network("a.b", "c")).unwrap());
        assert_eq!(networks.list().unwrap().len(), 2);
    }
}
