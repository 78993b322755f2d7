//! Which namespaces a container has of its own, and which it shares with whom.

use clap::Args;

use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::namespace::{IpcMode, NamespaceMode, Namespaces};
use crate::spec::userns::{MapRequest, UsernsMode, Users};

/// Which namespaces are its own.
#[derive(Args, Debug)]
pub(super) struct NamespacesFlags {
    /// Control groups: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    cgroupns: Option<NamespaceMode>,
    /// IPC: shareable, private, none, host, container:…, ns:…
    #[arg(long, value_name = "MODE")]
    ipc: Option<IpcMode>,
    /// Processes: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    pid: Option<NamespaceMode>,
    /// Map group IDs, as in 0:100000:65536 or +0:@1000
    #[arg(long, value_name = "[+]INSIDE:[@]OUTSIDE[:COUNT]")]
    gidmap: Vec<MapRequest>,
    /// Map the group IDs that /etc/subgid gives this name
    #[arg(long, value_name = "NAME")]
    subgidname: Option<String>,
    /// Map the user IDs that /etc/subuid gives this name
    #[arg(long, value_name = "NAME")]
    subuidname: Option<String>,
    /// Map user IDs, as in 0:100000:65536 or +0:@1000
    #[arg(long, value_name = "[+]INSIDE:[@]OUTSIDE[:COUNT]")]
    uidmap: Vec<MapRequest>,
    /// Users: host, keep-id, auto, nomap or container:NAME
    #[arg(long, value_name = "MODE")]
    userns: Option<UsernsMode>,
    /// Host name: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    uts: Option<NamespaceMode>,
}

impl NamespacesFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) {
        spec.settings.namespaces = Namespaces {
            pid: self.pid.or_else(|| usual.pidns.clone()).unwrap_or_default(),
            ipc: self.ipc.or_else(|| usual.ipcns.clone()).unwrap_or_default(),
            uts: self.uts.or_else(|| usual.utsns.clone()).unwrap_or_default(),
            cgroup: self.cgroupns.or_else(|| usual.cgroupns.clone()).unwrap_or_default(),
        };
        let is_mapped = !self.uidmap.is_empty()
            || !self.gidmap.is_empty()
            || self.subuidname.is_some()
            || self.subgidname.is_some();
        let mode = match (self.userns, &usual.userns) {
            (Some(mode), _) => mode,
            (None, _) if is_mapped => UsernsMode::Private,
            (None, mode) => mode.clone().unwrap_or_default(),
        };
        spec.settings.users = Users {
            mode,
            uids: self.uidmap,
            gids: self.gidmap,
            subuid_name: self.subuidname,
            subgid_name: self.subgidname,
        };
    }
}
