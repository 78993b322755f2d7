//! Makes a process in a box: namespaces, mounts, cgroups, capabilities, seccomp. Knows no images.
//!
//! [`Launch`] says what: an OCI runtime `Spec`, what the root file system is made of, descriptors.
//! [`Launch::start`] makes the container's first process with one `clone3`; `init` is what that
//! process does before it becomes the user's program, and in which order. The two talk over one
//! socket (see `channel`): the caller does what must be done from outside (the network) while the
//! child mounts, then says go; success is that the socket closes by exec.

pub mod capability;
pub mod cgroup;
mod channel;
mod check;
mod criu;
mod descriptors;
mod device;
mod doctor;
mod enter;
mod gate;
mod hooks;
mod init;
pub mod kernel;
mod label;
mod launch;
mod options;
mod proc;
mod program;
mod reaper;
pub mod rlimit;
mod rootfs;
mod schedule;
pub mod seccomp;
mod shown;
mod threshold;
mod user;

pub use criu::{After, Dump, Liberties, Restore};
pub use doctor::doctor;
pub use enter::Entry;
pub use gate::Gate;
pub use hooks::{Bundle, OCI_VERSION};
pub use launch::{Bond, FilterOf, Launch, Starting, Stdio};
pub use rootfs::{Overlay, Rootfs, detached};
pub use shown::shown;
pub use threshold::{Owners, UserNamespace, show_owners};
pub use user::who;
