//! Secrets: small pieces of data that containers get and nobody else sees; and configs, which are the
//! same but that anybody may see them.
//!
//! `secrets/HEX.json` is one secret with its data, HEX the SHA-256 of its name; only its owner can read
//! it. Whoever changes a secret holds `secrets.lock`. A container that was made with one has a copy,
//! `containers/HEX/secrets/N`: the secret may change or go. Configs are in `configs`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::blob::digest_of;
use super::lock::Lock;
use super::{Store, file};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::closest::closest;
use crate::spec::id::is_hex;

/// What kind of data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// What nobody but containers sees.
    Secret,
    /// What anybody may see.
    Config,
}

impl Kept {
    /// Returns the word for one of them.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }
}

/// A secret or a config.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its ID: 25 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made, in nanoseconds since 1970.
    pub created: i64,
    /// When it was changed or replaced last, in nanoseconds since 1970.
    pub updated: i64,
    /// Counts the changes since it was made or replaced, beginning with 1.
    #[serde(default = "first")]
    pub version: u64,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What keeps the data; empty if that is the store.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Options of the driver.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// The data, in base64; empty if it is elsewhere.
    pub data: String,
}

/// The version of what was not changed.
fn first() -> u64 {
    1
}

impl Secret {
    /// Returns the name of its driver.
    pub fn driver(&self) -> &str {
        if self.driver.is_empty() { "file" } else { &self.driver }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is secret is in no log.
        write!(f, "Secret({}, {})", self.id, self.name)
    }
}

/// All secrets of a store, or all its configs.
#[derive(Clone, Copy, Debug)]
pub struct Secrets<'a> {
    store: &'a Store,
    kept: Kept,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(store: &'a Store, kept: Kept) -> Self {
        Self { store, kept }
    }

    fn directory(&self) -> PathBuf {
        self.store.root.join(format!("{}s", self.kept.as_str()))
    }

    fn record(&self, name: &str) -> PathBuf {
        self.directory().join(format!("{}.json", digest_of(name.as_bytes()).hex()))
    }

    fn lock(&self) -> Result<Lock> {
        Lock::exclusive(&self.directory().with_extension("lock"))
    }

    /// Reads the secret of a name.
    pub fn named(&self, name: &str) -> Result<Option<Secret>> {
        file::read_json(&self.record(name))
    }

    /// Reads all secrets, by name.
    pub fn list(&self) -> Result<Vec<Secret>> {
        let mut secrets = Vec::new();
        for key in file::record_digests(&self.directory())? {
            let path = self.directory().join(format!("{}.json", key.hex()));
            // Removed as we look.
            secrets.extend(file::read_json::<Secret>(&path)?);
        }
        secrets.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(secrets)
    }

    /// Finds a secret by its name, its ID, or the beginning of its ID if that is unique.
    pub fn lookup(&self, text: &str) -> Result<Secret> {
        if let Some(secret) = self.named(text)? {
            return Ok(secret);
        }
        let what = self.kept.as_str();
        let all = self.list()?;
        let begins = |secret: &&Secret| is_hex(text) && secret.id.starts_with(text);
        let found: Vec<&Secret> = all.iter().filter(begins).collect();
        match found.as_slice() {
            [secret] => Ok((*secret).clone()),
            [] => {
                let message = format!("no {what} with name or id \"{text}\": no such {what}");
                let error = Error::new(Kind::NotFound, message);
                Err(match closest(text, all.iter().map(|secret| secret.name.as_str())) {
                    Some(close) => error.hint(format!("did you mean `{close}`?")),
                    None => error,
                })
            }
            _ => {
                let message = format!("more than one {what} has an ID that begins with \"{text}\"");
                Err(Error::new(Kind::Conflict, message)
                    .hint("give more digits of the ID, or a name"))
            }
        }
    }

    /// Makes or replaces the secret of a name; `make` is told what there is now.
    pub fn update(
        &self,
        name: &str,
        make: impl FnOnce(Option<Secret>) -> Result<Secret>,
    ) -> Result<Secret> {
        file::create_dirs(&self.directory(), 0o700)?;
        let _lock = self.lock()?;
        let secret = make(self.named(name)?)?;
        let path = self.record(name);
        let data =
            serde_json::to_vec(&secret).context(|| format!("cannot encode {}", path.display()))?;
        file::write_secret(&path, &data)?;
        Ok(secret)
    }

    /// Removes a secret; `false` if it is gone already.
    pub fn remove(&self, secret: &Secret) -> Result<bool> {
        let _lock = self.lock()?;
        if self.named(&secret.name)?.is_none_or(|now| now.id != secret.id) {
            return Ok(false);
        }
        let path = self.record(&secret.name);
        file::remove_file(&path)?;
        file::sync_parent(&path).context(|| format!("cannot remove {}", path.display()))?;
        Ok(true)
    }
}
