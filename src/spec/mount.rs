//! Mounts into a container: volumes, binds, tmpfs.
//!
//! | file | job |
//! |---|---|
//! | `parse` | `-v` and `--tmpfs` |
//! | `fields` | `--mount` |
//! | `option` | options that are single words, and those of file systems in memory |
//! | `target` | where something is mounted |

mod fields;
mod option;
mod parse;
mod target;
#[cfg(test)]
mod tests;

pub use option::{ALONE, PROPAGATIONS};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::digest::{DiffId, Digest, ImageId};
use super::volume::VolumeSpec;

/// Something that is mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Whether the container cannot write there, nor to what is mounted below, unless [`ALONE`] is
    /// among its options.
    pub read_only: bool,
    /// Further mount options in the words of mount(8), as in `noexec` or `rshared`.
    pub options: Vec<String>,
    /// The part of the source that is shown, by its path below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<PathBuf>,
    /// Whether all files in it are given to the container's user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chown: bool,
    /// Whether its owners are shown as the container's users stand for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idmap: bool,
    /// Where changes go instead of to the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<OverlayOf>,
    /// Whether it was asked for by fields with names, as `--mount` has them, and is shown so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_fields: bool,
}

/// Where changes go instead of to the source of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlayOf {
    /// They are gone when the container ends.
    Discarded,
    /// They stay in a directory of the host.
    Kept {
        /// That directory.
        upper: PathBuf,
        /// Scratch space of the kernel beside it.
        work: PathBuf,
    },
}

/// What a [`Mount`] shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        path: PathBuf,
        /// Whether a missing directory is created (`-v` does, `--mount` does not).
        create: bool,
    },
    /// A volume.
    Volume {
        /// Its name; one is made up at create if there is none.
        name: Option<String>,
        /// Whether it goes with the container: nobody has named it.
        anonymous: bool,
        /// Whether it begins with what the image has there.
        copy: bool,
        /// What it is to be if it is not there yet.
        #[serde(default)]
        new: VolumeSpec,
    },
    /// The files of an image. What is changed in them is gone when the container ends.
    Image {
        /// Its name, as it was asked for.
        name: String,
        /// Which image that is; known once the container is made.
        #[serde(default)]
        id: Option<ImageId>,
        /// Its layers, lowest first.
        #[serde(default)]
        layers: Vec<DiffId>,
    },
    /// The files of an artifact, which can only be read.
    Artifact {
        /// Its name, as it was asked for.
        name: String,
        /// Title of the only file that is wanted.
        title: Option<String>,
        /// Digest of the only file that is wanted.
        digest: Option<String>,
        /// What its file is called in the container; with several, a number follows.
        file_name: Option<String>,
        /// The file; known once the container is made, which has one mount for each.
        #[serde(default)]
        blob: Option<Digest>,
    },
    /// A fresh file system of terminals.
    Devpts,
    /// A fresh file system in memory that is never swapped, without a limit of its size.
    Ramfs {
        /// Permission bits of its root.
        mode: Option<u32>,
    },
    /// A fresh file system in memory.
    Tmpfs {
        /// Size in bytes; the kernel's default is half of the memory.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
    },
}

impl Mount {
    /// Makes a mount of a volume that nobody has named.
    pub fn anonymous_volume(target: &str) -> crate::error::Result<Self> {
        Self::new(MountSource::anonymous(), target)
    }

    /// Makes a mount of a file system in memory, from which programs can be run.
    pub fn tmpfs(target: &str) -> crate::error::Result<Self> {
        let mut mount = Self::new(MountSource::Tmpfs { size: None, mode: None }, target)?;
        mount.options.push("exec".to_owned());
        Ok(mount)
    }

    /// Returns the name of the volume that it shows.
    pub fn volume(&self) -> Option<&str> {
        match &self.source {
            MountSource::Volume { name, .. } => name.as_deref(),
            _ => None,
        }
    }
}

impl MountSource {
    /// A volume that goes with the container.
    pub fn anonymous() -> Self {
        Self::Volume { name: None, anonymous: true, copy: true, new: VolumeSpec::default() }
    }
}

/// Reads a truth value in the spellings that Go accepts.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
