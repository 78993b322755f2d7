//! `volume reload`: what plugins have without us is put on record, what they have no more is taken off.

use super::plugin::Plugin;
use super::remove::Retirement;
use crate::engine::{Engine, now};
use crate::error::{Error, Result};
use crate::spec::volume::{self, VolumeSpec};
use crate::store::volume::Volume;

/// What a reload did.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Names of volumes that are on record now.
    pub added: Vec<String>,
    /// Names of volumes that are not any more.
    pub removed: Vec<String>,
    /// What did not work.
    pub failures: Vec<Error>,
}

impl Engine {
    /// Compares what is on record with what the plugins have.
    pub fn reload_volumes(&self) -> Result<Reloaded> {
        let mut reloaded = Reloaded::default();
        for driver in Plugin::all() {
            let listed = Plugin::find(&driver).and_then(|plugin| {
                if plugin.is_for_volumes()? { plugin.list().map(Some) } else { Ok(None) }
            });
            let known = match listed {
                Ok(Some(known)) => known,
                Ok(None) => continue,
                Err(error) => {
                    reloaded.failures.push(error);
                    continue;
                }
            };
            let mut names: Vec<String> = known.into_iter().map(|it| it.name).collect();
            names.retain(|name| volume::parse_name(name).is_ok());
            for name in &names {
                let spec = VolumeSpec { driver: driver.clone(), ..VolumeSpec::default() };
                let volume = Volume { name: name.clone(), created: now(), anonymous: false, spec };
                if self.store.volumes().create(&volume, true)? {
                    reloaded.added.push(name.clone());
                }
            }
            for volume in self.store.volumes().list()? {
                if volume.spec.driver != driver || names.contains(&volume.name) {
                    continue;
                }
                // The plugin need not be asked to remove what it does not have.
                if let Retirement::Done(retired) = self.retire_volume(&volume.name, false)? {
                    retired.erase()?;
                    reloaded.removed.push(volume.name);
                }
            }
        }
        Ok(reloaded)
    }
}
