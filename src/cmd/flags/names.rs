//! Names of hosts, and who resolves them.

use std::net::IpAddr;

use clap::Args;

use super::together;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::network::{HostsBase, NameResolution, parse_host, parse_server};

/// Names of hosts, and who resolves them.
#[derive(Args, Debug)]
pub(super) struct NamesFlags {
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:IP", value_parser = parse_host)]
    add_host: Vec<(String, String)>,
    /// Use this name server
    #[arg(long, value_name = "IP|none", value_parser = parse_server)]
    dns: Vec<Option<IpAddr>>,
    /// Add an option for the resolver
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Use this search domain
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Set the NIS domain name
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// What /etc/hosts begins with: image, none or a file
    #[arg(long, value_name = "FILE")]
    hosts_file: Option<HostsBase>,
    /// Keep the image's /etc/hostname
    #[arg(long)]
    no_hostname: bool,
    /// Keep the image's /etc/hosts
    #[arg(long)]
    no_hosts: bool,
    /// Set the host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
}

impl NamesFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(mut self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        if self.no_hosts && !self.add_host.is_empty() {
            return Err(together("no-hosts", "add-host"));
        }
        if self.no_hosts && self.hosts_file.is_some() {
            return Err(together("no-hosts", "hosts-file"));
        }
        let is_asked = !self.add_host.is_empty() || self.hosts_file.is_some();
        let no_hosts = self.no_hosts || usual.no_hosts == Some(true) && !is_asked;
        if self.dns != [None] {
            let or_usual = |own: &mut Vec<String>, usual: &[String]| {
                if own.is_empty() {
                    usual.clone_into(own);
                }
            };
            or_usual(&mut self.dns_search, usual.dns_searches.all());
            or_usual(&mut self.dns_option, usual.dns_options.all());
            if self.dns.is_empty() {
                usual.dns_servers.all().clone_into(&mut self.dns);
            }
        }
        let no_resolver = self.dns.contains(&None);
        let others = self.dns.len() + self.dns_search.len() + self.dns_option.len() > 1;
        if no_resolver && others {
            let text = "--dns none cannot be set together with other --dns flags";
            return Err(Error::new(Kind::Invalid, text));
        }
        let search = match self.dns_search.as_slice() {
            [word] if word == "none" => vec![".".to_owned()],
            [_] | [] => self.dns_search,
            several if several.iter().any(|word| word == "." || word == "none") => {
                let text = "cannot pass additional search domains when also specifying '.'";
                return Err(Error::new(Kind::Invalid, text));
            }
            _ => self.dns_search,
        };
        let base =
            match self.hosts_file.or_else(|| usual.base_hosts_file.clone()).unwrap_or_default() {
                HostsBase::File(path) => {
                    let path = std::path::absolute(&path)
                        .context(|| format!("cannot resolve {}", path.display()))?;
                    std::fs::metadata(&path)
                        .context(|| format!("cannot read {}", path.display()))?;
                    HostsBase::File(path)
                }
                other => other,
            };
        spec.settings.hostname = self.hostname;
        spec.settings.domainname = self.domainname;
        spec.settings.names = NameResolution {
            servers: self.dns.into_iter().flatten().collect(),
            search,
            options: self.dns_option,
            hosts: self.add_host,
            base,
            host: usual.host_ip.unwrap_or_default(),
            no_hosts,
            no_hostname: self.no_hostname,
            no_resolver,
        };
        Ok(())
    }
}
