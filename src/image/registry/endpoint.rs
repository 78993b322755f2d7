//! Where a registry is and how far it is to be trusted: addresses to try, in which order.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::spec::reference::DEFAULT_REGISTRY;

/// How to reach a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host and port, as certificates and errors call it.
    pub(super) host: String,
    /// Whether its certificate must be good.
    pub(super) verify: bool,
    /// Whether it may be asked without encryption if it knows none.
    pub(super) plain: bool,
    /// Whether it is on this machine.
    pub(super) loopback: bool,
    /// Address of the proxy that leads there; what the environment says otherwise.
    pub(super) proxy: Option<String>,
    /// Directory with certificates for it, instead of the usual ones.
    pub(super) cert_dir: Option<PathBuf>,
}

impl Endpoint {
    /// Decides how to reach a registry. `verify` is what the user said about it.
    ///
    /// As with Docker, registries on this machine, and those that its configuration calls insecure, may
    /// have any certificate or none.
    pub(super) fn new(registry: &str, verify: Option<bool>, insecure: &[String]) -> Self {
        let host = if registry == DEFAULT_REGISTRY { "registry-1.docker.io" } else { registry };
        let loopback = is_loopback(host);
        let trusted = loopback || insecure.iter().any(|known| known == host);
        let verify = verify.unwrap_or(!trusted);
        Self {
            host: host.to_owned(),
            verify,
            plain: !verify,
            loopback,
            proxy: None,
            cert_dir: None,
        }
    }

    /// Describes a host that is no registry of the user's choice.
    pub(super) fn stranger(host: &str) -> Self {
        Self::new(host, Some(true), &[])
    }
}

/// Returns the host of `HOST[:PORT]` or `[ADDRESS][:PORT]`.
fn without_port(text: &str) -> &str {
    match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => text.split(':').next().unwrap_or(text),
    }
}

/// Tells whether a host is this machine.
pub(super) fn is_loopback(text: &str) -> bool {
    let host = without_port(text);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Reads which registries Docker's daemon is told to be lenient with.
pub(super) fn insecure_registries() -> Vec<String> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "kebab-case")]
    struct Daemon {
        insecure_registries: Vec<String>,
    }
    let mut paths = vec!["/etc/docker/daemon.json".into()];
    if let Some(home) = std::env::var_os("HOME") {
        paths.push(std::path::Path::new(&home).join(".config/docker/daemon.json"));
    }
    paths
        .iter()
        // Another program's file: what is wrong with it is that program's matter.
        .filter_map(|path| serde_json::from_slice::<Daemon>(&std::fs::read(path).ok()?).ok())
        .flat_map(|daemon| daemon.insecure_registries)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_whom_to_trust() {
        let insecure = ["lab.example:5000".to_owned()];
        for (registry, said, host, verify, plain) in [
            ("docker.io", None, "registry-1.docker.io", true, false),
            ("quay.io", None, "quay.io", true, false),
            ("quay.io", Some(false), "quay.io", false, true),
            ("localhost:5000", None, "localhost:5000", false, true),
            ("127.1.2.3:5000", None, "127.1.2.3:5000", false, true),
            ("[::1]:5000", None, "[::1]:5000", false, true),
            ("127.0.0.1:5000", Some(true), "127.0.0.1:5000", true, false),
            ("lab.example:5000", None, "lab.example:5000", false, true),
            ("lab.example", None, "lab.example", true, false),
            ("localhost.example", None, "localhost.example", true, false),
        ] {
            let endpoint = Endpoint::new(registry, said, &insecure);
            assert_eq!(
                (endpoint.host.as_str(), endpoint.verify, endpoint.plain),
                (host, verify, plain),
                "{registry}"
            );
        }
    }
}
