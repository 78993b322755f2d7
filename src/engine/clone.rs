//! `container clone`: another container of the same making.
//!
//! It has the configuration of the first, and the files of its image: nothing of what the first
//! has changed.

use super::create::{limits, random_id};
use super::start::is_interrupted;
use super::users::Decided;
use super::{Engine, RemoveOptions, now, update};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::ContainerSpec;
use crate::spec::id::ContainerId;
use crate::spec::limits::Resources;
use crate::spec::mount::MountSource;
use crate::store::container::{Belongings, ContainerConfig};
use crate::store::garbage::Parts;
use crate::store::image::not_known;

/// How a clone differs from the first container.
#[derive(Clone, Debug, Default)]
pub struct CloneOptions {
    /// Its name; the first one's with `-clone` behind it if there is none.
    pub name: Option<String>,
    /// Another image to take the files from.
    pub image: Option<String>,
    /// Limits, over those of the first.
    pub resources: Resources,
    /// Whether the first is removed.
    pub destroy: bool,
    /// Whether it is removed although it runs.
    pub force: bool,
}

impl Engine {
    /// Makes a clone of a container; returns its ID.
    pub fn clone_container(&self, name: &str, options: &CloneOptions) -> Result<ContainerId> {
        let first = self.lookup(name)?;
        let is_idle = first.state.status.monitored().is_none();
        if options.destroy && !options.force && !is_idle {
            let message = format!("cannot remove container {name} as it is {}", first.state.word());
            return Err(Error::new(Kind::Conflict, message).hint("stop it first, or pass --force"));
        }
        let mut config = first.config.clone();
        config.settings.resources = update::merge(&config.settings.resources, &options.resources);
        limits::check(&config.settings.resources)?;
        // The files of the first name the first.
        config.settings.cidfile = None;
        config.settings.pidfile = None;
        let id = self
            .record_clone(*config, &first.state.name, options)
            .context(|| format!("cannot clone container {name}"))?;
        if options.destroy {
            let rest = RemoveOptions { force: options.force, ..RemoveOptions::default() };
            self.remove(first.id().as_str(), rest).inspect_err(|_| {
                // The failure to report is the first one.
                drop(self.remove(id.as_str(), RemoveOptions::default()));
            })?;
        }
        Ok(id)
    }

    fn record_clone(
        &self,
        mut config: ContainerConfig,
        first: &str,
        options: &CloneOptions,
    ) -> Result<ContainerId> {
        let kept = self.store.shared()?;
        if let Some(text) = &options.image {
            let (image, name) =
                self.store.images().find_named(text)?.ok_or_else(|| not_known(text))?;
            config.image = name.map_or_else(|| text.clone(), |name| name.to_string());
            config.image_id = image.id;
            config.layers = image.layers;
            config.builtin = image.builtin;
            config.settings.rootfs = None;
        }
        drop(kept);
        let secrets = self.secrets_of(&config)?;
        self.record_like(config, &secrets, |config, users, own| {
            self.record_renewed(config, first, options, users, own)
        })
    }

    /// Makes what a container has of its own that is like another one, and has it recorded. Volumes that
    /// nobody has named are the other one's alone.
    pub(super) fn record_like<T>(
        &self,
        mut config: ContainerConfig,
        secrets: &[Vec<u8>],
        record: impl FnOnce(&ContainerConfig, &Decided, &Belongings<'_>) -> Result<T>,
    ) -> Result<T> {
        // Others need not wait for the copy of a large image.
        let _pin = self.store.pin(&Parts::of(&config.layers, []))?;
        super::images::layers(&self.store, &config.layers)?;
        // A range of IDs that was the first one's alone is not to be shared.
        let asked = ContainerSpec { settings: config.settings.clone(), ..ContainerSpec::default() };
        let users = self.decide_users(&asked.settings.users)?;
        let owners = self.mapping_on_disk(users.mapping.as_ref(), &asked.settings.users.mode)?;
        config.id_mapping.clone_from(&users.mapping);
        let durable = !config.settings.remove;
        let tree = match &config.settings.rootfs {
            Some(_) => None,
            None => {
                self.store.new_tree(&config.layers, durable, owners.as_ref(), &is_interrupted)?
            }
        };
        let _no_gc = self.store.shared()?;
        for mount in &mut config.settings.mounts {
            if let MountSource::Volume { name, anonymous: true, .. } = &mut mount.source {
                *name = None;
            }
        }
        let volumes = self.take_volumes(&mut config)?;
        let own = Belongings { tree: tree.as_ref(), volumes: &volumes, secrets };
        let made = record(&config, &users, &own);
        if made.is_err() {
            drop(volumes);
            // The failure to report is the first one.
            drop(self.remove_anonymous_volumes(&config));
        }
        made
    }

    fn record_renewed(
        &self,
        config: &ContainerConfig,
        first: &str,
        options: &CloneOptions,
        users: &Decided,
        own: &Belongings<'_>,
    ) -> Result<ContainerId> {
        for attempt in 0_u32.. {
            let config = renewed(config, random_id()?);
            let name = match &options.name {
                Some(name) => name.clone(),
                None if attempt == 0 => format!("{first}-clone"),
                None => format!("{first}-clone{attempt}"),
            };
            match self.record(&config, &name, own) {
                // A name that was made up is in use: make up another one.
                Err(error) if error.kind() == Kind::Conflict && options.name.is_none() => {}
                Err(error) => return Err(error),
                Ok(_locked) => {
                    if let Some(range) = &users.reservation {
                        range.hold(&config.id)?;
                    }
                    return Ok(config.id);
                }
            }
        }
        Err(Error::new(Kind::Unavailable, "cannot make up a name that is not in use"))
    }
}

/// A configuration with another ID, and with what follows from it.
pub(super) fn renewed(config: &ContainerConfig, id: ContainerId) -> ContainerConfig {
    let mut new = ContainerConfig { id, created: now(), ..config.clone() };
    let (old, own) = (config.hostname(), new.hostname().to_owned());
    for entry in &mut new.env {
        if entry.strip_prefix("HOSTNAME=") == Some(old) {
            *entry = format!("HOSTNAME={own}");
        }
    }
    new
}
