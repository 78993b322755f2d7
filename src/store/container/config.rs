//! What was decided when a container was created.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spec::container::Settings;
use crate::spec::digest::{DiffId, Digest, ImageId};
use crate::spec::health::Health;
use crate::spec::id::ContainerId;
use crate::spec::mount::MountSource;
use crate::spec::process::Signal;
use crate::spec::userns::IdMapping;

/// What was decided when a container was created. Never changes, but for what [`Changes`] puts over it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Full ID.
    pub id: ContainerId,
    /// When it was created, in nanoseconds since 1970.
    pub created: i64,
    /// The image's name as the user wrote it, made complete.
    pub image: String,
    /// The image.
    pub image_id: ImageId,
    /// The image's layers, lowest first.
    pub layers: Vec<DiffId>,
    /// What the root file system is made of besides layers.
    pub builtin: Option<Builtin>,
    /// Program to run; looked up in `PATH` of the container if it has no slash.
    pub path: String,
    /// Its arguments, without the program itself.
    pub args: Vec<String>,
    /// The entrypoint part of both, for those who ask.
    pub entrypoint: Option<Vec<String>>,
    /// Environment in the order in which it is set, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// Working directory.
    pub working_dir: PathBuf,
    /// Whether it is made if it is missing: the image's own, not one that the user named.
    pub make_working_dir: bool,
    /// `USER[:GROUP]`, resolved in the container's own files at start; empty is root.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks it to stop.
    pub stop_signal: Signal,
    /// Ports that the image or the user declared, as in `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Which of our IDs its IDs stand for, if it has a user namespace of its own.
    #[serde(default)]
    pub id_mapping: Option<IdMapping>,
    /// How its health is probed, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What was recorded as it was asked for.
    pub settings: Settings,
}

impl ContainerConfig {
    /// Tells whether the container has a network namespace of its own.
    pub fn has_own_network(&self) -> bool {
        self.settings.network.is_own()
    }

    /// Returns the ID of its image, without the algorithm; empty if a directory is in its place.
    pub fn image_hex(&self) -> &str {
        if self.settings.rootfs.is_some() { "" } else { self.image_id.hex() }
    }

    /// Returns the images that it is made of, or mounts.
    pub fn images(&self) -> impl Iterator<Item = &ImageId> {
        let mounted = self.settings.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Image { id, .. } => id.as_ref(),
            _ => None,
        });
        std::iter::once(&self.image_id).chain(mounted)
    }

    /// Returns the layers of these.
    pub fn all_layers(&self) -> impl Iterator<Item = &DiffId> {
        let mounted = self.settings.mounts.iter().flat_map(|mount| match &mount.source {
            MountSource::Image { layers, .. } => layers.as_slice(),
            _ => &[],
        });
        self.layers.iter().chain(mounted)
    }

    /// Returns the files of artifacts that it mounts.
    pub fn artifact_files(&self) -> impl Iterator<Item = &Digest> {
        self.settings.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Artifact { blob, .. } => blob.as_ref(),
            _ => None,
        })
    }

    /// Returns the host name of a container that does not share the host's.
    pub fn hostname(&self) -> &str {
        self.settings.hostname.as_deref().unwrap_or_else(|| self.id.short())
    }

    /// Tells whether its first process is systemd, for which it is made then.
    pub fn runs_systemd(&self) -> bool {
        let settings = &self.settings;
        let is_first = !settings.init && settings.init_path.is_none();
        is_first && settings.systemd.applies(&self.path)
    }
}

/// A root file system that does not come from layers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Builtin {
    /// `builtin/hello`: nothing but our own executable.
    Hello,
    /// `builtin/host`: this machine's root file system, copy-on-write.
    Host,
}
