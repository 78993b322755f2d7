//! Configs: what anybody may see, kept as secrets are; and labels, which is all of either that changes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::create::random;
use super::secrets::made_up_id;
use super::{Engine, now};
use crate::error::{Error, Kind, Result};
use crate::spec::secret::{self, MOST_OF_CONFIG};
use crate::store::events::{Action, Event, Object};
use crate::store::secret::{Kept, Secret};

/// What a secret or a config is to become.
#[derive(Clone, Debug, Default)]
pub struct Relabeled {
    /// The version that the caller has seen.
    pub version: u64,
    /// Its name, which stays.
    pub name: String,
    /// The labels that it has from now on.
    pub labels: BTreeMap<String, String>,
    /// The data, in base64, if the caller has said what they are: they stay, too.
    pub data: Option<String>,
}

impl Engine {
    /// Makes a config; returns its ID.
    pub fn create_config(
        &self,
        name: &str,
        data: &[u8],
        labels: BTreeMap<String, String>,
    ) -> Result<String> {
        let name = secret::parse_name_of("config", name)?;
        if data.is_empty() || data.len() > MOST_OF_CONFIG {
            let text = format!(
                "config data must be larger than 0 and not more than {MOST_OF_CONFIG} bytes"
            );
            return Err(Error::new(Kind::Invalid, text));
        }
        let created = now();
        let config = Secret {
            id: made_up_id(&random()?),
            name: name.clone(),
            created,
            updated: created,
            version: 1,
            labels,
            driver: String::new(),
            options: BTreeMap::new(),
            data: BASE64_STANDARD.encode(data),
        };
        let made = self.store.kept(Kept::Config).update(&name, |before| match before {
            None => Ok(config),
            Some(_) => Err(Error::new(Kind::Conflict, format!("config {name} already exists"))
                .hint("remove it first, or choose another name")),
        })?;
        self.record_event(Event::new(Object::Config, Action::Create, &made.id, &made.name));
        Ok(made.id)
    }

    /// Removes a config; returns its ID.
    pub fn remove_config(&self, name: &str) -> Result<String> {
        let configs = self.store.kept(Kept::Config);
        let config = configs.lookup(name)?;
        if configs.remove(&config)? {
            self.record_event(Event::new(Object::Config, Action::Remove, &config.id, &config.name));
        }
        Ok(config.id)
    }

    /// Gives a secret or a config other labels, if nobody has changed it since the caller has seen it.
    pub fn relabel(&self, kept: Kept, name: &str, wanted: &Relabeled) -> Result<()> {
        let all = self.store.kept(kept);
        let found = all.lookup(name)?;
        let what = kept.as_str();
        if wanted.name != found.name || wanted.data.as_ref().is_some_and(|it| *it != found.data) {
            let text = format!("only the labels of a {what} can be changed");
            return Err(Error::new(Kind::Invalid, text)
                .hint("remove it and make it anew, or make another one"));
        }
        let changed = all.update(&found.name, |now_there| match now_there {
            Some(there) if there.id == found.id && there.version == wanted.version => Ok(Secret {
                labels: wanted.labels.clone(),
                version: there.version + 1,
                updated: now(),
                ..there
            }),
            // Docker's status for this is one of its own faults.
            Some(there) if there.id == found.id => Err(Error::new(
                Kind::Internal,
                format!("{what} {name}: update out of sequence: it has version {}", there.version),
            )),
            _ => Err(Error::new(Kind::NotFound, format!("no such {what}: {name}"))),
        })?;
        let object = if kept == Kept::Secret { Object::Secret } else { Object::Config };
        self.record_event(Event::new(object, Action::Update, &changed.id, &changed.name));
        Ok(())
    }
}
