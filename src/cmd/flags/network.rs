//! Which network a container is on, and which of its ports are published.

use std::net::{Ipv4Addr, Ipv6Addr};

use clap::Args;

use crate::cmd::output;
use crate::error::Result;
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::membership::{Link, Mac, parse_alias};
use crate::spec::network::{Asked, NetworkMode, PortMapping, parse_exposed};

/// Its network and the ports that are published.
#[derive(Args, Debug)]
pub(super) struct NetworkFlags {
    /// Declare a port
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = parse_exposed)]
    expose: Vec<Vec<String>>,
    /// Its IPv4 address on the network
    #[arg(long, value_name = "IP")]
    ip: Option<Ipv4Addr>,
    /// Its IPv6 address on the network
    #[arg(long, value_name = "IP")]
    ip6: Option<Ipv6Addr>,
    /// Another container, by a name that only this one knows
    #[arg(long, value_name = "CONTAINER[:ALIAS]")]
    link: Vec<Link>,
    /// Its hardware address on the network
    #[arg(long, value_name = "MAC")]
    mac_address: Option<Mac>,
    /// Network: a name, none, host or container:NAME
    ///
    /// Options of a network that has a name follow it, as in net1:ip=10.89.0.5,alias=db. pasta, the
    /// usual one without root, takes its own arguments, as in pasta:--mtu,1400,-T,5432; with --map-gw
    /// the router's address leads to what listens on loopback here. slirp4netns takes
    /// allow_host_loopback=, cidr=, enable_ipv6=, mtu=, outbound_addr=, outbound_addr6= and
    /// port_handler=slirp4netns, with which the container sees where connections come from.
    /// ns:PATH is a namespace that is there already. Who shares the network of a container keeps it
    /// when that one ends, and has interfaces, names and published ports again when it is started; but
    /// for one with users of its own (--userns), which gets a new network.
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Vec<NetworkMode>,
    /// Name by which others on its networks know it
    #[arg(long, visible_alias = "net-alias", value_name = "NAME", value_parser = parse_alias)]
    network_alias: Vec<String>,
    /// Publish a port
    ///
    /// Of ranges, as in 8000-8010:80-90, each port of the host leads to its like. A range for a single port,
    /// as in 8000-8010:80, is what there is to choose from: the first one that is free is taken.
    #[arg(short, long, value_name = "[[IP:]HOST:]CONTAINER")]
    publish: Vec<PortMapping>,
    /// Publish all ports that are exposed
    #[arg(short = 'P', long)]
    publish_all: bool,
}

impl NetworkFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        let mut networks = self.network;
        if networks.is_empty() {
            networks.extend(usual.netns.clone());
        }
        let network = NetworkMode::together(networks)?.asking(&Asked {
            ipv4: self.ip,
            ipv6: self.ip6,
            mac: self.mac_address,
            aliases: self.network_alias,
            links: self.link,
        })?;
        let mut ports = self.publish;
        if let (false, NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_)) =
            (ports.is_empty() && !self.publish_all, &network)
        {
            output::warning(&format!(
                "Port mappings have been discarded because \"{network}\" network namespace mode does not support them"
            ));
            ports.clear();
        }
        spec.exposed_ports = self.expose.into_iter().flatten().collect();
        spec.publish_all = self.publish_all;
        spec.settings.network = network;
        spec.settings.ports = ports;
        Ok(())
    }
}
