//! `volume rm`: a volume that no container has goes.

use super::plugin::Plugin;
use crate::engine::{Engine, RemoveOptions};
use crate::error::{Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::mount::MountSource;
use crate::store::container::ContainerConfig;
use crate::store::events::{Action, Event, Object};
use crate::store::volume::RetiredVolume;

impl Engine {
    /// Removes a volume; with `force`, the containers that have it before. Returns its name.
    pub fn remove_volume(&self, name: &str, options: RemoveOptions) -> Result<String> {
        let name = self.store.volumes().lookup(name)?.name;
        loop {
            match self.retire_volume(&name, true)? {
                Retirement::Done(retired) => {
                    retired.erase()?;
                    return Ok(name);
                }
                // Somebody else was faster.
                Retirement::Missing => return Ok(name),
                Retirement::InUse(users) if options.force => {
                    for user in &users {
                        self.remove_with_dependants(user.as_str(), options)?;
                    }
                }
                Retirement::InUse(users) => return Err(in_use(&name, &users)),
                Retirement::Busy => {
                    let message = format!(
                        "volume {name} is being exported or imported: volume is being used"
                    );
                    return Err(
                        Error::new(Kind::Conflict, message).hint("try again when that has ended")
                    );
                }
            }
        }
    }

    /// Takes a volume off the record unless a container has it. With `asks`, its plugin removes it before,
    /// if it has one.
    pub(super) fn retire_volume(&self, name: &str, asks: bool) -> Result<Retirement> {
        let mut repaired = false;
        let mut closed = None;
        loop {
            let Some(locked) = self.store.volumes().lock(name)? else {
                return Ok(Retirement::Missing);
            };
            let users = locked.users()?;
            if users.is_empty() && locked.is_busy()? {
                return Ok(Retirement::Busy);
            }
            if users.is_empty() {
                let known = self.store.volumes().get(name)?;
                if let (Some(volume), None) =
                    (known.filter(|it| asks && it.spec.is_by_plugin()), &closed)
                {
                    // Nobody may come to use it as it is removed, nor wait for the plugin.
                    closed = Some(locked.close()?);
                    let plugin = Plugin::find(&volume.spec.driver);
                    plugin.map_err(|error| error.kind_is(Kind::Unavailable))?.remove(name)?;
                    continue;
                }
                let retired = locked.retire()?;
                self.record_event(Event::new(Object::Volume, Action::Remove, "", name));
                return Ok(Retirement::Done(retired));
            }
            // Containers come before volumes in the order of locks.
            drop(locked);
            if repaired {
                return Ok(Retirement::InUse(users));
            }
            // One that is removed when it ends may have lost its monitor.
            for user in &users {
                match self.repaired(user) {
                    Err(error) if error.kind() != Kind::NotFound => return Err(error),
                    _ => {}
                }
            }
            repaired = true;
        }
    }

    /// Removes the volumes of a container that is gone which nobody has named, and nobody else has.
    pub(in crate::engine) fn remove_anonymous_volumes(
        &self,
        config: &ContainerConfig,
    ) -> Result<()> {
        let unnamed = config.settings.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name, anonymous: true, .. } => name.as_deref(),
            _ => None,
        });
        for name in unnamed {
            let known = self.store.volumes().get(name)?;
            if known.is_some_and(|volume| volume.anonymous)
                && let Retirement::Done(retired) = self.retire_volume(name, true)?
            {
                retired.erase()?;
            }
        }
        Ok(())
    }
}

/// What has become of a volume.
pub(super) enum Retirement {
    /// It is off the record.
    Done(RetiredVolume),
    /// These have it.
    InUse(Vec<ContainerId>),
    /// Somebody reads or writes its files without a container.
    Busy,
    /// There is none.
    Missing,
}

fn in_use(name: &str, users: &[ContainerId]) -> Error {
    let list: Vec<&str> = users.iter().map(ContainerId::as_str).collect();
    Error::new(
        Kind::Conflict,
        format!(
            "volume {name} is being used by the following container(s): {}: volume is being used",
            list.join(", ")
        ),
    )
    .hint("remove them first, or pass --force to remove them with it")
}
