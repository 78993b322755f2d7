//! What a container may do: capabilities, seccomp, masks.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a container may do beyond the defaults, or not do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Whether nearly all isolation of devices, capabilities, seccomp and masks is off.
    pub privileged: bool,
    /// Capabilities to add, without `CAP_`, upper case; `ALL` is all.
    pub cap_add: Vec<String>,
    /// Capabilities to drop, without `CAP_`, upper case; `ALL` is all.
    pub cap_drop: Vec<String>,
    /// Whether set-user-ID programs gain nothing.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Paths that are masked besides the default ones.
    pub mask: Vec<PathBuf>,
    /// Default masked or read-only paths that are left alone; `ALL` is all.
    pub unmask: Vec<PathBuf>,
}

/// Which system call filter a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// The profile in this file, in Docker's or the OCI's form.
    File(PathBuf),
}
