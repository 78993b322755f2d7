//! What a container may do.

use clap::Args;

use crate::error::Result;
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::env::parse_pair;
use crate::spec::security::{Seccomp, Security, parse_capability};

/// What it may do.
#[derive(Args, Debug)]
pub(super) struct SecurityFlags {
    /// Add a Linux capability, or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    cap_add: Vec<String>,
    /// Drop a Linux capability, or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    cap_drop: Vec<String>,
    /// Switch off nearly all isolation of privileges
    #[arg(long)]
    privileged: bool,
    /// Security option, as in seccomp=unconfined
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Set a kernel parameter of its namespaces
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    sysctl: Vec<(String, String)>,
}

impl SecurityFlags {
    /// Adds it to what is asked for; comes after what says which namespaces are its own.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        let privileged = self.privileged || usual.privileged == Some(true);
        let profile = usual.seccomp_profile.clone().filter(|_| !privileged);
        let mut security = Security {
            privileged,
            capabilities: usual.capabilities.said().map(<[String]>::to_vec),
            seccomp: profile.map_or(Seccomp::Default, Seccomp::File),
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            ..Security::default()
        };
        for option in &self.security_opt {
            security.apply(option)?;
        }
        spec.settings.security = security;
        let (own, network) = (&spec.settings.namespaces, &spec.settings.network);
        // Those of namespaces that are shared would be refused if somebody had asked for them.
        let fits = |name: &str| match name.split('.').next() {
            Some("net") => network.is_own(),
            Some("fs") => own.ipc.is_own(),
            _ if matches!(name, "kernel.domainname" | "kernel.hostname") => own.uts.is_own(),
            _ => own.ipc.is_own(),
        };
        let others = usual.sysctls.all().iter().filter(|(name, _)| fits(name)).cloned();
        spec.settings.sysctls = others.chain(self.sysctl).collect();
        Ok(())
    }
}
