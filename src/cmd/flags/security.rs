//! What a container may do.

use clap::Args;

use crate::error::Result;
use crate::spec::container::ContainerSpec;
use crate::spec::env::parse_pair;
use crate::spec::security::{Security, parse_capability};

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
    /// Adds it to what is asked for.
    pub(super) fn apply(self, spec: &mut ContainerSpec) -> Result<()> {
        let mut security = Security {
            privileged: self.privileged,
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            ..Security::default()
        };
        for option in &self.security_opt {
            security.apply(option)?;
        }
        spec.settings.security = security;
        spec.settings.sysctls = self.sysctl.into_iter().collect();
        Ok(())
    }
}
