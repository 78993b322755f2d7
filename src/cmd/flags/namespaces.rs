//! Which namespaces a container has of its own, and which it shares with whom.

use clap::Args;

use crate::spec::container::ContainerSpec;
use crate::spec::namespace::{IpcMode, NamespaceMode, Namespaces};

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
    /// Host name: private, host, container:NAME or ns:PATH
    #[arg(long, value_name = "MODE")]
    uts: Option<NamespaceMode>,
}

impl NamespacesFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, spec: &mut ContainerSpec) {
        spec.settings.namespaces = Namespaces {
            pid: self.pid.unwrap_or_default(),
            ipc: self.ipc.unwrap_or_default(),
            uts: self.uts.unwrap_or_default(),
            cgroup: self.cgroupns.unwrap_or_default(),
        };
    }
}
