//! `volume create`: a volume with a name, or with one that is made up.

use super::plugin::Plugin;
use crate::engine::create::random_id;
use crate::engine::{Engine, now};
use crate::error::{Error, Kind, Result};
use crate::spec::volume::{self, VolumeSpec};
use crate::store::events::{Action, Event, Object};
use crate::store::volume::Volume;

impl Engine {
    /// Makes a volume; returns its name. One that is there already is an error unless `ignore` says so.
    pub fn create_volume(
        &self,
        name: Option<&str>,
        spec: VolumeSpec,
        ignore: bool,
    ) -> Result<String> {
        spec.check()?;
        let (name, anonymous) = match name {
            Some(name) => (volume::parse_name(name)?, false),
            None => (random_id()?.to_string(), true),
        };
        let volume = Volume { name: name.clone(), created: now(), anonymous, spec };
        if !self.make_volume(&volume, true)? && !ignore {
            let message = format!("volume with name {name} already exists: volume already exists");
            return Err(Error::new(Kind::Conflict, message)
                .hint("pass --ignore if it may be there already"));
        }
        Ok(name)
    }

    /// Makes a volume; `false` if there is one of its name.
    pub(super) fn make_volume(&self, volume: &Volume, durable: bool) -> Result<bool> {
        if volume.spec.is_by_plugin() {
            if self.store.volumes().get(&volume.name)?.is_some() {
                return Ok(false);
            }
            Plugin::find(&volume.spec.driver)?.create(&volume.name, &volume.spec.options)?;
        }
        let made = self.store.volumes().create(volume, durable)?;
        if made {
            self.record_event(Event::new(Object::Volume, Action::Create, "", &volume.name));
        }
        Ok(made)
    }
}
