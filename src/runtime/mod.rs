//! Makes a process in a box: namespaces, mounts, cgroups, capabilities, seccomp. Knows no images.

pub mod capability;
pub mod cgroup;
pub mod kernel;
pub mod seccomp;
