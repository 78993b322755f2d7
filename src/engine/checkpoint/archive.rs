//! Checkpoints as archives: how a container moves to another store, or to another machine.
//!
//! The archive is laid out as Podman's, whose own archives have another configuration:
//!
//! | member | what it is |
//! |---|---|
//! | `config.dump` | the container's name and configuration, as JSON |
//! | `checkpoint/` | CRIU's files, and our notes |
//! | `rootfs-diff.tar` | what the container has changed of its image, as a layer |
//! | `volumes/NAME.tar` | the files of a volume |
//!
//! Who imports one runs what it says, with the power that it says: as with an image and the flags of `run`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::Path;

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

use super::{Engine, RestoreOptions, now};
use crate::engine::RemoveOptions;
use crate::engine::clone::renewed;
use crate::engine::create::random_id;
use crate::engine::images::whole_file;
use crate::error::{Context, Error, Kind, Result};
use crate::image::archive::Members;
use crate::image::upper;
use crate::spec::compression::Compression;
use crate::spec::mount::{Mount, MountSource};
use crate::spec::name;
use crate::spec::network::PortMapping;
use crate::spec::volume::parse_name;
use crate::store::container::{Container, ContainerConfig};
use crate::store::driver::Tree;
use crate::store::file;
use crate::store::image::not_known;

const CONFIG: &str = "config.dump";
const CHANGES: &str = "rootfs-diff.tar";
const IMAGES: &str = "checkpoint";
const VOLUMES: &str = "volumes";

/// The form that is written.
const VERSION: u32 = 1;

/// How a checkpoint becomes an archive.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions {
    /// How it is compressed.
    pub compression: Compression,
    /// Whether what the container has changed of its image stays here.
    pub ignore_rootfs: bool,
    /// Whether the files of its volumes stay here.
    pub ignore_volumes: bool,
}

/// How an archive becomes a container.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Its name, and that it has an ID of its own; otherwise both are those that it had.
    pub name: Option<String>,
    /// Which ports are published instead of its own, if that is asked for.
    pub ports: Vec<PortMapping>,
    /// Whether what it had changed of its image is left out.
    pub ignore_rootfs: bool,
    /// Whether the files of its volumes are left out.
    pub ignore_volumes: bool,
}

/// What `config.dump` has.
#[derive(Debug, Serialize, Deserialize)]
struct Exported {
    version: u32,
    name: String,
    config: ContainerConfig,
}

impl Engine {
    /// Refuses containers that could be restored here alone.
    pub(super) fn check_can_be_exported(&self, config: &ContainerConfig) -> Result<()> {
        let text = if !config.settings.secrets.is_empty() {
            "the archive would show the container's secrets"
        } else if config.settings.rootfs.is_some() {
            "the container has a directory instead of an image"
        } else if let Tree::Whole(_) = self.store.containers().tree(config) {
            "the store has its containers' files whole, by the driver vfs"
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::Unsupported, format!("it cannot be exported: {text}"))
            .hint("checkpoint it without --export"))
    }

    /// Writes a checkpoint and all that belongs to it to a file, which is whole or not there.
    pub(super) fn export_checkpoint(
        &self,
        container: &Container,
        path: &Path,
        options: ExportOptions,
    ) -> Result<()> {
        // It shows all memory of the container.
        let before = rustix::process::umask(Mode::from_raw_mode(0o077));
        let written = whole_file(path, |file| {
            let context = || format!("cannot write {}", path.display());
            match options.compression {
                Compression::None => self.write_members(container, file, options),
                Compression::Gzip => {
                    let level = flate2::Compression::default();
                    let mut out = flate2::write::GzEncoder::new(file, level);
                    self.write_members(container, &mut out, options)?;
                    out.finish().map(drop).context(context)
                }
                Compression::Zstd => {
                    let mut out = zstd::Encoder::new(file, 0).context(context)?;
                    self.write_members(container, &mut out, options)?;
                    out.finish().map(drop).context(context)
                }
                Compression::Bzip2 | Compression::Xz => {
                    Err(Error::new(Kind::Unsupported, "archives are compressed by gzip or zstd"))
                }
            }
        });
        rustix::process::umask(before);
        written
    }

    fn write_members(
        &self,
        container: &Container,
        out: &mut dyn Write,
        options: ExportOptions,
    ) -> Result<()> {
        let config = container.config.as_ref().clone();
        let exported = Exported { version: VERSION, name: container.state.name.clone(), config };
        let mut archive = Archive(tar::Builder::new(out));
        let text = serde_json::to_vec(&exported).context(|| "cannot write the configuration")?;
        archive.data(CONFIG, &text)?;
        let dir = self.checkpoint_dir(container);
        let context = || format!("cannot list {}", dir.display());
        for entry in fs::read_dir(&dir).context(context)? {
            let entry = entry.context(context)?;
            let name = entry.file_name();
            let name = format!("{IMAGES}/{}", name.to_string_lossy());
            archive.file(&name, &entry.path())?;
        }
        let drafts = self.store.draft_dir()?;
        let draft = drafts.path().join("draft");
        let context = || format!("cannot write {}", draft.display());
        if !options.ignore_rootfs {
            let mut file = File::create(&draft).context(context)?;
            self.export_changes(container, &mut file)?;
            archive.file(CHANGES, &draft)?;
        }
        if !options.ignore_volumes {
            for name in container.config.volumes() {
                let mut file = File::create(&draft).context(context)?;
                self.export_volume(name, &mut file)?;
                archive.file(&format!("{VOLUMES}/{name}.tar"), &draft)?;
            }
        }
        archive.0.finish().context(|| "cannot finish the archive")
    }

    /// Makes a container of an archive, and its processes of the checkpoint in there. Returns its ID, and
    /// what did not go as asked. On failure nothing is left of it.
    pub fn import_checkpoint(
        &self,
        path: &Path,
        options: &ImportOptions,
        restore: RestoreOptions,
    ) -> Result<(String, Vec<String>)> {
        self.check_power_to_checkpoint()?;
        self.import_and_restore(path, options, restore)
            .context(|| format!("cannot import {}", path.display()))
    }

    fn import_and_restore(
        &self,
        path: &Path,
        options: &ImportOptions,
        restore: RestoreOptions,
    ) -> Result<(String, Vec<String>)> {
        let members = Members::open(&self.store, path)?;
        if !members.contains(CONFIG) || !members.contains(&format!("{IMAGES}/{}", super::NOTES)) {
            let text = "it is no checkpoint that barge has exported";
            return Err(Error::new(Kind::Invalid, text));
        }
        let exported: Exported = serde_json::from_slice(&members.document(CONFIG)?)
            .context(|| format!("cannot understand `{CONFIG}`"))?;
        if exported.version != VERSION {
            let text = format!("it was written by another version of barge: {}", exported.version);
            return Err(Error::new(Kind::Unsupported, text));
        }
        name::parse(&exported.name)?;
        let mut config = exported.config;
        for volume in config.volumes() {
            parse_name(volume)?;
        }
        // The files of the first name the first.
        config.settings.cidfile = None;
        config.settings.pidfile = None;
        config.settings.monitor_pidfile = None;
        self.check_can_be_checkpointed(&config)?;
        if self.store.images().get(&config.image_id)?.is_none() {
            return Err(not_known(&config.image).hint(format!(
                "its image must be here, {}: pull or load {}",
                config.image_id, config.image
            )));
        }
        if !options.ports.is_empty() {
            config.settings.ports.clone_from(&options.ports);
        }
        // Its processes know the name of their host.
        config.settings.hostname = Some(config.hostname().to_owned());
        let name = options.name.as_deref().unwrap_or(&exported.name);
        let volumes = self.volumes_to_fill(&config, &members, options)?;
        let (id, filled) = self.record_imported(config, name, options.name.is_some(), &volumes)?;
        let filled_in = self
            .fill_in(&id, &members, &filled, options)
            .and_then(|()| self.restore_container(&self.lookup(&id)?, restore));
        match filled_in {
            Ok(warnings) => Ok((id, warnings)),
            Err(error) => {
                let error = self.with_kept_log(&id, error);
                // The first failure is the one to report.
                let rest = RemoveOptions { force: true, volumes: true, ..RemoveOptions::default() };
                drop(self.remove(&id, rest));
                for (_, name) in &filled {
                    drop(self.remove_volume(name, RemoveOptions::default()));
                }
                Err(error)
            }
        }
    }

    /// Keeps what CRIU has written about a container that is about to go, if an error speaks of that.
    fn with_kept_log(&self, id: &str, error: Error) -> Error {
        let Ok(container) = self.lookup(id) else { return error };
        let log = self.store.containers().dir(container.id()).join("restore.log");
        let kept = self.store.runroot().join("restore.log");
        let speaks = error.hint_text().is_some_and(|it| it.contains(&*log.to_string_lossy()));
        if speaks && fs::copy(&log, &kept).is_ok() {
            return error.hint(format!("what it says is in {}", kept.display()));
        }
        error
    }

    /// Returns the volumes of which the archive has the files; none of them may be here.
    fn volumes_to_fill(
        &self,
        config: &ContainerConfig,
        members: &Members,
        options: &ImportOptions,
    ) -> Result<BTreeSet<String>> {
        let mut volumes = BTreeSet::new();
        if options.ignore_volumes {
            return Ok(volumes);
        }
        for mount in &config.settings.mounts {
            let MountSource::Volume { name: Some(name), anonymous, .. } = &mount.source else {
                continue;
            };
            if !members.contains(&format!("{VOLUMES}/{name}.tar")) {
                continue;
            }
            if !anonymous && self.store.volumes().get(name)?.is_some() {
                let text = format!("volume {name} is here already");
                return Err(Error::new(Kind::Conflict, text)
                    .hint("pass --ignore-volumes to use it as it is, or remove it"));
            }
            volumes.insert(name.clone());
        }
        Ok(volumes)
    }

    /// Records a container as it was, or under a name and an ID of its own. Returns its ID, and of the
    /// volumes which is filled with the files of which.
    fn record_imported(
        &self,
        mut config: ContainerConfig,
        name: &str,
        renamed: bool,
        volumes: &BTreeSet<String>,
    ) -> Result<(String, Vec<(String, String)>)> {
        if renamed {
            config = renewed(&config, random_id()?);
        } else if self.store.containers().state(&config.id)?.is_some() {
            let text = format!("container {} is here already", config.id.short());
            return Err(Error::new(Kind::Conflict, text).hint("pass --name to make another one"));
        }
        let old: Vec<Option<String>> =
            config.settings.mounts.iter().map(|it| it.volume().map(str::to_owned)).collect();
        self.record_like(config, &[], |config, _, own| {
            let new = config.settings.mounts.iter().map(Mount::volume);
            let pairs = old.iter().zip(new).filter_map(|(old, new)| old.as_deref().zip(new));
            let pairs: BTreeSet<(String, String)> = pairs
                .filter(|(old, _)| volumes.contains(*old))
                .map(|(old, new)| (old.to_owned(), new.to_owned()))
                .collect();
            drop(self.record(config, name, own)?);
            Ok((config.id.to_string(), pairs.into_iter().collect()))
        })
    }

    /// Puts what the archive has into a container that is on record.
    fn fill_in(
        &self,
        id: &str,
        members: &Members,
        volumes: &[(String, String)],
        options: &ImportOptions,
    ) -> Result<()> {
        let container = self.lookup(id)?;
        let dir = self.store.containers().dir(container.id());
        let images = self.checkpoint_dir(&container);
        file::create_dirs(&images, 0o700)?;
        for name in members.files_in(IMAGES) {
            let path = images.join(&name);
            let context = || format!("cannot write {}", path.display());
            let mut file = File::create_new(&path).context(context)?;
            let mut input = members.member(&format!("{IMAGES}/{name}"))?;
            io::copy(&mut input, &mut file).context(context)?;
        }
        if !options.ignore_rootfs && members.contains(CHANGES) {
            let own = dir.join("upper");
            file::create_dirs(&own, 0o755)?;
            upper::apply(members.member(CHANGES)?, &own)?;
        }
        for (old, new) in volumes {
            let input = members.member(&format!("{VOLUMES}/{old}.tar"))?;
            self.import_volume(new, BufReader::new(input))?;
        }
        let notes = self.checkpoint_notes(&container.config)?;
        let mut locked = self.store.containers().lock(container.id())?;
        locked.update(|state| {
            state.checkpointed = Some(now());
            state.ports = notes.ports;
        })
    }
}

/// An archive that is written.
struct Archive<'a>(tar::Builder<&'a mut dyn Write>);

impl Archive<'_> {
    fn data(&mut self, name: &str, data: &[u8]) -> Result<()> {
        let mut header = header(data.len() as u64);
        self.0.append_data(&mut header, name, data).context(|| format!("cannot write `{name}`"))
    }

    fn file(&mut self, name: &str, path: &Path) -> Result<()> {
        let context = || format!("cannot read {}", path.display());
        let file = File::open(path).context(context)?;
        let mut header = header(file.metadata().context(context)?.len());
        self.0.append_data(&mut header, name, file).context(|| format!("cannot write `{name}`"))
    }
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header.set_entry_type(tar::EntryType::Regular);
    header
}
