//! Mounts into a container: binds and tmpfs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Something that is mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Whether the container cannot write there.
    pub read_only: bool,
    /// Further mount options in the words of mount(8), as in `noexec` or `rshared`.
    pub options: Vec<String>,
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
    /// A fresh file system in memory.
    Tmpfs {
        /// Size in bytes; the kernel's default is half of the memory.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
    },
}
