//! Names of hosts, and who resolves them.

use std::net::IpAddr;

use clap::Args;

use crate::spec::container::ContainerSpec;
use crate::spec::network::{NameResolution, parse_host};

/// Names of hosts, and who resolves them.
#[derive(Args, Debug)]
pub(super) struct NamesFlags {
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:IP", value_parser = parse_host)]
    add_host: Vec<Vec<(String, String)>>,
    /// Use this name server
    #[arg(long, value_name = "IP")]
    dns: Vec<IpAddr>,
    /// Add an option for the resolver
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Use this search domain
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Set the host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
}

impl NamesFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, spec: &mut ContainerSpec) {
        spec.settings.hostname = self.hostname;
        spec.settings.names = NameResolution {
            servers: self.dns,
            search: self.dns_search,
            options: self.dns_option,
            hosts: self.add_host.into_iter().flatten().collect(),
        };
    }
}
