//! `create`: decides everything about a container and records it.

mod decide;
mod environment;
pub(super) mod limits;
mod validate;

pub(super) use decide::decide;

use super::start::is_interrupted;
use super::users::Decided;
use super::{Engine, IdFile, RemoveOptions, log_tag};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::ContainerSpec;
use crate::spec::digest::{Digest, ImageId};
use crate::spec::id::{ContainerId, to_hex};
use crate::spec::image::RunConfig;
use crate::spec::mount::MountSource;
use crate::spec::name;
use crate::spec::notify::SdNotify;
use crate::spec::storage::DriverName;
use crate::spec::userns::IdMapping;
use crate::store::container::{Belongings, Builtin, ContainerConfig, Locked};
use crate::store::driver::NewTree;
use crate::store::events::{Action, Event};
use crate::store::garbage::Parts;
use crate::store::image::{Image, not_known};

impl Engine {
    /// Makes a container of an image that is in the store.
    pub fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        let id = random_id()?;
        drop(self.create_as(spec, &id)?);
        Ok(id)
    }

    /// As [`Engine::create`], with an ID that no other container has. Nobody else changes it as long as
    /// what is returned is held.
    pub fn create_as(&self, spec: &ContainerSpec, id: &ContainerId) -> Result<Locked<'_>> {
        self.validate(spec)?;
        let id_file = self.make_id_file(spec)?;
        if let (true, Some(name)) = (spec.replace, &spec.name) {
            self.make_room(name)?;
        }
        let locked = match self.create_once(spec, id) {
            // The holder may be a container whose creation was cut off.
            Err(error) if error.kind() == Kind::Conflict && self.sweep()? => {
                self.create_once(spec, id).map_err(|_| error)
            }
            other => other,
        }?;
        if let Some(Err(error)) = id_file.map(|file| file.write(id)) {
            drop(locked);
            // The first failure is the one to report.
            let all = RemoveOptions { volumes: true, ..RemoveOptions::default() };
            drop(self.remove(id.as_str(), all));
            return Err(error);
        }
        Ok(locked)
    }

    /// Removes what was cut off; `false` if there was nothing.
    pub(super) fn sweep(&self) -> Result<bool> {
        let containers = self.store.containers();
        if containers.unfinished()?.is_empty() {
            return Ok(false);
        }
        match self.store.try_exclusive()? {
            Some(lock) => containers.sweep(&lock).map(|()| true),
            // What is being made right now is not to be swept.
            None => Ok(false),
        }
    }

    fn create_once(&self, spec: &ContainerSpec, id: &ContainerId) -> Result<Locked<'_>> {
        let users = self.decide_users(&spec.settings.users)?;
        let owners = self.mapping_on_disk(users.mapping.as_ref(), &spec.settings.users.mode)?;
        let mut copied: Option<(ImageId, Option<NewTree>)> = None;
        let (image, shown, tree, _no_gc) = loop {
            if let Some(dir) = &spec.settings.rootfs {
                let shown = dir.path.display().to_string();
                break (no_image()?, shown, None, self.store.shared()?);
            }
            // Until the container is on record, nobody may remove its image.
            let no_gc = self.store.shared()?;
            let (image, shown) = self.image_of(spec)?;
            match copied {
                _ if self.store.driver() == DriverName::Overlay && owners.is_none() => {
                    break (image, shown, None, no_gc);
                }
                // The name may lead to another image by now.
                Some((of, tree)) if of == image.id => break (image, shown, tree, no_gc),
                _ => {}
            }
            // Others need not wait for the copy of a large image.
            let parts = Parts::of(&image.layers, []);
            let pin = self.store.pin(&parts)?;
            drop(no_gc);
            let tree = self.copy(spec, &image, owners.as_ref());
            drop(pin);
            if let Err(error) = self.image_of(spec) {
                // Somebody has removed the image, and left to us what we were at. What cannot be
                // freed now is garbage for the next prune.
                drop(tree);
                drop(self.free_layers(&parts));
                return Err(error);
            }
            copied = Some((image.id.clone(), tree?));
        };
        let mut decided = self.decided(spec, &image, shown, &users, id.clone())?;
        make_sources(&decided)?;
        self.settle_images(&mut decided)?;
        self.settle_artifacts(&mut decided)?;
        let secrets = self.settle_secrets(&mut decided)?;
        let _networks = self.settle_networks(&mut decided)?;
        let volumes = self.take_volumes(&mut decided)?;
        let own = Belongings { tree: tree.as_ref(), volumes: &volumes, secrets: &secrets };
        let created = self.record_named(spec, &decided, &users, &own);
        if created.is_err() {
            drop(volumes);
            // The failure to report is the first one.
            drop(self.remove_anonymous_volumes(&decided));
        }
        created
    }

    /// Records a container under the name that was asked for, or one that is made up.
    fn record_named(
        &self,
        spec: &ContainerSpec,
        config: &ContainerConfig,
        users: &Decided,
        own: &Belongings<'_>,
    ) -> Result<Locked<'_>> {
        for attempt in 0.. {
            let name = match &spec.name {
                Some(name) => name.clone(),
                None => name::random(u64::from_ne_bytes(random()?), attempt),
            };
            match self.record(config, &name, own) {
                // A name that was made up is in use: make up another one.
                Err(error) if error.kind() == Kind::Conflict && spec.name.is_none() => {}
                Err(error) => return Err(error),
                Ok(locked) => {
                    if let Some(range) = &users.reservation {
                        range.hold(&config.id)?;
                    }
                    return Ok(locked);
                }
            }
        }
        Err(Error::new(Kind::Unavailable, "cannot make up a name that is not in use"))
    }

    /// Decides everything about a container, and makes nothing.
    pub(super) fn decided(
        &self,
        spec: &ContainerSpec,
        image: &Image,
        shown: String,
        users: &Decided,
        id: ContainerId,
    ) -> Result<ContainerConfig> {
        let mut config = decide(&*self.with_volumes_of_others(spec)?, image, shown, id)?;
        self.settle_donors(&mut config)?;
        config.id_mapping.clone_from(&users.mapping);
        if let (None, Some(user)) = (&spec.user, &users.user) {
            config.user.clone_from(user);
        }
        if spec.settings.sdnotify == SdNotify::Healthy && config.health.is_none() {
            return Err(Error::new(
                Kind::Invalid,
                "sdnotify policy \"healthy\" requires a healthcheck to be set",
            )
            .hint("set one with --health-cmd"));
        }
        // A template that is wrong is refused here, and not by the first start.
        log_tag::tag(&config, spec.name.as_deref().unwrap_or_default())?;
        Ok(config)
    }

    /// Finds the image of a container, and what it is called there.
    pub(super) fn image_of(&self, spec: &ContainerSpec) -> Result<(Image, String)> {
        let found = match self.store.images().find_named(&spec.image)? {
            Some(found) => Some(found),
            None => super::lists::here(&self.store, &spec.image, spec.platform.as_ref())?,
        };
        let (image, reference) = found.ok_or_else(|| not_known(&spec.image))?;
        if image.builtin == Some(Builtin::Host) && self.store.driver() != DriverName::Overlay {
            return Err(no_overlay(self.store.driver()));
        }
        let shown = reference.map_or_else(|| spec.image.clone(), |name| name.to_string());
        Ok((image, shown))
    }

    /// Frees layers that nobody needs any more.
    fn free_layers(&self, parts: &Parts) -> Result<()> {
        match self.store.try_exclusive()? {
            Some(lock) => {
                let garbage = self.store.free(parts, &lock)?;
                drop(lock);
                garbage.erase().map(drop)
            }
            // Others are making something; it is not to be waited for.
            None => Ok(()),
        }
    }

    /// Makes the container's own copy of its image, where overlay does not do that.
    fn copy(
        &self,
        spec: &ContainerSpec,
        image: &Image,
        owners: Option<&IdMapping>,
    ) -> Result<Option<NewTree>> {
        let durable = !spec.settings.remove;
        self.store.new_tree(&image.layers, durable, owners, &is_interrupted).map_err(|error| {
            if is_interrupted() {
                return Error::new(Kind::Unavailable, "interrupted before the container was made");
            }
            error
        })
    }

    fn make_id_file(&self, spec: &ContainerSpec) -> Result<Option<IdFile>> {
        let Some(path) = &spec.settings.cidfile else { return Ok(None) };
        let context = || format!("cannot resolve {}", path.display());
        let path = std::path::absolute(path).context(context)?;
        // The file of a container that is replaced goes with it.
        if let (true, Some(name)) = (spec.replace, &spec.name)
            && let Ok(old) = self.store.containers().lookup(name)
            && let Some(old) = self.store.containers().get(&old)?
            && old.config.settings.cidfile.as_ref() == Some(&path)
        {
            self.make_room(name)?;
        }
        IdFile::create(&path).map(Some)
    }

    fn make_room(&self, name: &str) -> Result<()> {
        match self.store.containers().lookup(name) {
            Ok(_) => {
                let options = RemoveOptions { force: true, ..RemoveOptions::default() };
                self.remove(name, options).map(drop)
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn record(
        &self,
        config: &ContainerConfig,
        name: &str,
        own: &Belongings<'_>,
    ) -> Result<Locked<'_>> {
        let locked = self.store.containers().create(config, name, own)?;
        self.record_event(Event::of_named(config, name, Action::Create));
        Ok(locked)
    }
}

/// What stands for the image of a container that has a directory instead.
pub(super) fn no_image() -> Result<Image> {
    Ok(Image {
        id: ImageId(Digest::from_hex(&"0".repeat(64))?),
        layers: Vec::new(),
        config: RunConfig::default(),
        architecture: String::new(),
        variant: None,
        os: "linux".to_owned(),
        created: 0,
        size: 0,
        manifest_digest: None,
        blobs: Vec::new(),
        builtin: None,
        format: None,
        annotations: crate::spec::oci::Annotations::new(),
    })
}

/// The error for the one image that is nothing but overlays.
fn no_overlay(driver: DriverName) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("builtin/host shows this machine's own files through overlay; the storage driver here is `{driver}`"),
    )
    .hint("name another store with --root, and let it have overlay: --storage-driver overlay")
}

/// Makes up 64 hexadecimal digits.
pub fn random_hex() -> Result<String> {
    Ok(to_hex(&random::<32>()?))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags)
            .context(|| "cannot get random numbers")?;
    }
    Ok(bytes)
}

pub(super) fn random_id() -> Result<ContainerId> {
    loop {
        if let Some(id) = ContainerId::from_random(random()?) {
            return Ok(id);
        }
    }
}

/// Makes the directories to be bound that are not there.
fn make_sources(config: &ContainerConfig) -> Result<()> {
    for mount in &config.settings.mounts {
        if let MountSource::Bind { path, create: true } = &mount.source
            && !path.exists()
        {
            std::fs::create_dir_all(path)
                .context(|| format!("cannot create {} for the container", path.display()))?;
        }
    }
    Ok(())
}
