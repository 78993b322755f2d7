//! Makes a process in a box: namespaces, mounts, cgroups, capabilities, seccomp. Knows no images.
