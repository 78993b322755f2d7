//! Which namespaces of the host a container shares.

use clap::Args;

use crate::error::{Error, Kind, Result};
use crate::spec::container::{ContainerSpec, SharedNamespaces};

/// Which namespaces are its own.
#[derive(Args, Debug)]
pub(super) struct NamespacesFlags {
    /// Control group namespace: private or host
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    cgroupns: Option<Share>,
    /// IPC namespace: private, shareable or host
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    ipc: Option<Share>,
    /// Process namespace: private or host
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    pid: Option<Share>,
    /// Host name namespace: private or host
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    uts: Option<Share>,
}

impl NamespacesFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, spec: &mut ContainerSpec) {
        let host = |share: Option<Share>| share.is_some_and(|share| share.0);
        spec.settings.share = SharedNamespaces {
            pid: host(self.pid),
            ipc: host(self.ipc),
            uts: host(self.uts),
            cgroup: host(self.cgroupns),
        };
    }
}

/// Whether a namespace is the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share(bool);

/// Parses the mode of a namespace that is either shared with the host or not.
fn namespace(text: &str) -> Result<Share> {
    match text {
        "" | "private" | "shareable" => Ok(Share(false)),
        "host" => Ok(Share(true)),
        _ => Err(Error::new(Kind::Unsupported, format!("unsupported namespace mode `{text}`"))
            .hint("use private or host")),
    }
}
