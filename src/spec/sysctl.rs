//! Kernel parameters, by the namespace that each belongs to.

/// The kind of namespace that has a kernel parameter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysctlNamespace {
    /// System V's communication and message queues.
    Ipc,
    /// The network.
    Network,
    /// Limits of users.
    User,
    /// Host and domain name.
    Uts,
}

/// Those of System V's communication.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Returns whose a parameter is, by its name with dots; `None` if it is the whole machine's.
pub fn namespace_of(name: &str) -> Option<SysctlNamespace> {
    match name {
        "kernel.domainname" | "kernel.hostname" => Some(SysctlNamespace::Uts),
        name if name.starts_with("net.") => Some(SysctlNamespace::Network),
        name if name.starts_with("fs.mqueue.") || IPC.contains(&name) => Some(SysctlNamespace::Ipc),
        name if name.starts_with("user.") => Some(SysctlNamespace::User),
        _ => None,
    }
}
