//! Secrets: what users do with them, and how containers get theirs.
//!
//! A container has a copy of each since it was created, which nobody but its owner can read. A start
//! makes files of them that are bound into the container and go with the run, or variables, which are
//! in no record.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::bundle::{self, Facts};
use super::create::random;
use super::secret_drivers::Elsewhere;
use super::{Engine, now};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::{ContainerId, to_hex};
use crate::spec::secret::{self, MOST, SecretShown};
use crate::spec::userns::outside_of;
use crate::store::container::ContainerConfig;
use crate::store::events::{Action, Event, Object};
use crate::store::file;
use crate::store::secret::Secret;

/// A secret that is to be made.
#[derive(Default)]
pub struct NewSecret {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What keeps the data; empty if that is the store.
    pub driver: String,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Whether one of this name is replaced.
    pub replace: bool,
    /// Whether one of this name stays as it is, and that is no error.
    pub ignore: bool,
}

impl std::fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewSecret({})", self.name)
    }
}

impl Engine {
    /// Makes a secret; returns its ID.
    pub fn create_secret(&self, new: NewSecret) -> Result<String> {
        let name = secret::parse_name(&new.name)?;
        if new.data.is_empty() || new.data.len() >= MOST {
            return Err(Error::new(
                Kind::Invalid,
                format!("secret data must be larger than 0 and less than {MOST} bytes"),
            ));
        }
        let id = made_up_id(&random()?);
        let elsewhere = Elsewhere::of(&new.driver, &new.options)?;
        let before = self.store.secrets().named(&name)?;
        let data = match &elsewhere {
            None => BASE64_STANDARD.encode(&new.data),
            // Who would not need it is told so below.
            Some(_) if before.is_some() && !new.replace => String::new(),
            // Before it is on record, and with no lock held.
            Some(elsewhere) => elsewhere.store(&id, &new.data).map(|()| String::new())?,
        };
        let (mut made, mut replaced) = (true, None);
        let updated = self.store.secrets().update(&name, |before| match before {
            Some(before) if new.ignore && !new.replace => {
                made = false;
                Ok(before)
            }
            Some(_) if !new.replace => {
                let error = Error::new(Kind::Conflict, format!("{name}: secret name in use"));
                Err(error.hint("pass --replace to put this one in its place"))
            }
            before => {
                let updated = now();
                let created = before.as_ref().map_or(updated, |before| before.created);
                replaced = before;
                Ok(Secret {
                    id: id.clone(),
                    name: name.clone(),
                    created,
                    updated,
                    version: 1,
                    labels: new.labels.clone(),
                    driver: if elsewhere.is_some() { new.driver.clone() } else { String::new() },
                    options: new.options.clone(),
                    data,
                })
            }
        });
        if let (Some(elsewhere), true) = (&elsewhere, updated.is_err() || !made) {
            // Somebody else was faster; the first failure is the one to report.
            drop(elsewhere.delete(&id));
        }
        let secret = updated?;
        if let Some(old) = replaced {
            delete(&old)?;
        }
        if made {
            self.record_event(Event::new(Object::Secret, Action::Create, &secret.id, &secret.name));
        }
        Ok(secret.id)
    }

    /// Removes a secret; returns its ID.
    pub fn remove_secret(&self, name: &str) -> Result<String> {
        let secret = self.store.secrets().lookup(name)?;
        if self.store.secrets().remove(&secret)? {
            self.record_event(Event::new(Object::Secret, Action::Remove, &secret.id, &secret.name));
            delete(&secret)?;
        }
        Ok(secret.id)
    }

    /// Returns the bytes of a secret.
    pub fn secret_data(secret: &Secret) -> Result<Vec<u8>> {
        if let Some(elsewhere) = Elsewhere::of(&secret.driver, &secret.options)? {
            return elsewhere.lookup(&secret.id);
        }
        BASE64_STANDARD.decode(&secret.data).map_err(|error| {
            let message = format!("secret {} is damaged", secret.name);
            Error::new(Kind::Internal, message)
                .hint("put it in its place again by `secret create --replace`")
                .caused_by(error)
        })
    }

    /// Finds the secrets that a container is to have; returns their data.
    pub(super) fn settle_secrets(&self, config: &mut ContainerConfig) -> Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        for wanted in &mut config.settings.secrets {
            let secret = self.store.secrets().lookup(&wanted.name)?;
            let data = Self::secret_data(&secret)?;
            if matches!(wanted.shown, SecretShown::Env(_)) && data.contains(&0) {
                let message = format!("secret {} is no text: it cannot be a variable", secret.name);
                return Err(Error::new(Kind::Invalid, message).hint("leave type=env out"));
            }
            wanted.name = secret.name;
            wanted.id = secret.id;
            all.push(data);
        }
        Ok(all)
    }

    /// Returns the copies of its secrets that a container has.
    pub(super) fn secrets_of(&self, config: &ContainerConfig) -> Result<Vec<Vec<u8>>> {
        let copy = |index: usize| {
            let path = self.store.containers().secret(&config.id, index);
            fs::read(&path).context(|| format!("cannot read {}", path.display()))
        };
        (0..config.settings.secrets.len()).map(copy).collect()
    }

    /// Returns the variables that are secrets, as `NAME=VALUE`.
    pub(super) fn secret_variables(&self, config: &ContainerConfig) -> Result<Vec<String>> {
        let secrets = &config.settings.secrets;
        if !secrets.iter().any(|it| matches!(it.shown, SecretShown::Env(_))) {
            return Ok(Vec::new());
        }
        let mut variables = Vec::new();
        for (wanted, data) in secrets.iter().zip(self.secrets_of(config)?) {
            if let SecretShown::Env(name) = &wanted.shown {
                variables.push(format!("{name}={}", String::from_utf8_lossy(&data)));
            }
        }
        Ok(variables)
    }

    /// Makes the files of a container's secrets for a run.
    pub(super) fn ready_secrets(&self, config: &ContainerConfig, facts: &Facts) -> Result<()> {
        if config.settings.secrets.is_empty() {
            return Ok(());
        }
        self.forget_secrets(&config.id)?;
        let mapping = self.mapping_of(config)?;
        let copies = self.secrets_of(config)?;
        file::create_dirs(&facts.run_dir.join("secrets"), 0o700)?;
        for (index, (wanted, data)) in config.settings.secrets.iter().zip(copies).enumerate() {
            let SecretShown::Mount { uid, gid, mode, .. } = &wanted.shown else { continue };
            let path = bundle::secret_file(&facts.run_dir, index);
            let context = || format!("cannot write {}", path.display());
            file::write_secret_volatile(&path, &data)?;
            let outside = match &mapping {
                Some(mapping) => {
                    outside_of(&mapping.uids, *uid).zip(outside_of(&mapping.gids, *gid))
                }
                None => Some((*uid, *gid)),
            };
            let (uid, gid) = outside.ok_or_else(|| {
                let text = format!("the owner {uid}:{gid} of secret {} is not mapped", wanted.name);
                Error::new(Kind::Invalid, text)
            })?;
            std::os::unix::fs::chown(&path, Some(uid), Some(gid)).context(context)?;
            file::set_mode(&path, *mode)?;
        }
        Ok(())
    }

    /// Removes the files of a run.
    pub(super) fn forget_secrets(&self, id: &ContainerId) -> Result<()> {
        let dir = self.store.containers().run_dir(id).join("secrets");
        if dir.exists() { file::remove_tree(&dir) } else { Ok(()) }
    }
}

/// Makes an ID of random bytes: 25 hexadecimal digits.
pub(super) fn made_up_id(random: &[u8; 13]) -> String {
    let mut id = to_hex(random);
    id.truncate(25);
    id
}

/// Removes the data of a secret that is off the record, if it is elsewhere.
fn delete(secret: &Secret) -> Result<()> {
    match Elsewhere::of(&secret.driver, &secret.options)? {
        Some(elsewhere) => elsewhere
            .delete(&secret.id)
            .context(|| format!("the data of secret {} ({}) is left", secret.name, secret.id)),
        None => Ok(()),
    }
}
