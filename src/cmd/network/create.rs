//! `barge network create` and `barge network exists`

use std::net::IpAddr;

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::networks::NewNetwork;
use crate::error::{Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::spec::network_spec::{Driver, Ipam, NetworkSpec, Range, Route};

/// Create a network
///
/// Its name is printed.
/// Containers on it see each other, and nobody else on this machine sees more of them than the ports
/// that they publish.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Leave out name resolution between its containers
    #[arg(long)]
    disable_dns: bool,
    /// Name server for all other names
    #[arg(long, value_name = "IP")]
    dns: Vec<IpAddr>,
    /// Driver: bridge, macvlan, ipvlan or cni:PLUGIN
    ///
    /// With cni:PLUGIN, as in cni:ptp, that program connects containers; options are its configuration,
    /// as in -o ipMasq=true, with dots for what is within, as in -o ipam.type=static.
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: Driver,
    /// Address that leads out
    #[arg(long, value_name = "IP")]
    gateway: Vec<IpAddr>,
    /// Do not complain if there is one of this name
    #[arg(long)]
    ignore: bool,
    /// Name of its interface on this machine
    #[arg(long, value_name = "NAME")]
    interface_name: Option<String>,
    /// Let nothing out of it
    #[arg(long)]
    internal: bool,
    /// Addresses for containers, part of the subnet
    #[arg(long, value_name = "RANGE")]
    ip_range: Vec<Range>,
    /// Where addresses come from: host-local, dhcp or none
    #[arg(long, value_name = "DRIVER", default_value = "host-local")]
    ipam_driver: Ipam,
    /// Give it IPv6 as well
    #[arg(long)]
    ipv6: bool,
    /// Add a label
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Option of the driver, as mtu, isolate, parent or mode
    ///
    /// Of bridges: mtu, isolate, vlan (the tag of the VLAN that all its ports are in) and Docker's
    /// com.docker.network.*. Of macvlan and ipvlan: mtu, parent (the interface of this machine; one like
    /// eth0.100 is made for VLAN 100 of eth0 while containers are on it) and mode: bridge, private, vepa or passthru, and l2, l3 or
    /// l3s.
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Way to elsewhere for its containers
    #[arg(long, value_name = "NETWORK,GATEWAY[,METRIC]")]
    route: Vec<Route>,
    /// Its addresses; those of a free network if not given
    #[arg(long, value_name = "NETWORK")]
    subnet: Vec<Cidr>,
    /// Name; one is made up if there is none
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Act for Create {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.disable_dns && !self.dns.is_empty() {
            let text = "cannot set --disable-dns and --dns together";
            return Err(Error::new(Kind::Invalid, text));
        }
        let mut spec = NetworkSpec {
            driver: self.driver,
            ipv6: self.ipv6,
            internal: self.internal,
            dns: !self.disable_dns,
            routes: self.route,
            servers: self.dns,
            ipam: self.ipam_driver,
            ..NetworkSpec::default()
        };
        for label in &self.label {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            spec.labels.insert(key.to_owned(), value.to_owned());
        }
        self.opt.iter().try_for_each(|option| spec.add_option(option))?;
        spec.add_subnets(&self.subnet, &self.gateway, &self.ip_range)?;
        let engine = world.power()?;
        let name = engine.create_network(NewNetwork {
            name: self.name,
            interface: self.interface_name,
            ignore: self.ignore,
            spec,
        })?;
        world.out.line(&name)?;
        Ok(Status::SUCCESS)
    }
}

/// Tell by the exit status whether a network exists
#[derive(Args, Debug)]
pub(crate) struct Exists {
    /// Network, by name or ID
    #[arg(value_name = "NETWORK")]
    network: String,
}

impl Act for Exists {
    fn act(self, world: &mut World) -> Result<Status> {
        match world.engine()?.store().networks().lookup(&self.network) {
            Ok(_) => Ok(Status::SUCCESS),
            Err(error) if error.kind() == Kind::NotFound => Ok(Status::NO),
            Err(error) => Err(error),
        }
    }
}
