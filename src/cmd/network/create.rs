//! `barge network create` and `barge network exists`

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::Args;
use serde_json::json;

use crate::cmd::World;
use crate::cmd::answers::{self, object};
use crate::cmd::exit::Status;
use crate::cmd::host::refuse;
use crate::cmd::output;
use crate::cmd::tree::Act;
use crate::engine::networks::NewNetwork;
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::cidr::Cidr;
use crate::spec::network_spec::{Driver, Ipam, NetworkSpec, Range, Reserved, Route, Subnet};

/// Create a network
///
/// Its name is printed.
/// Containers on it see each other, and nobody else on this machine sees more of them than the ports
/// that they publish.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Address of somebody else that no container gets
    #[arg(long, value_name = "NAME=IP")]
    aux_address: Vec<Reserved>,
    /// Let containers come to it at any time, as they may
    #[arg(long)]
    attachable: bool,
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
    ///
    /// If not given, host-local; dhcp where the network is somebody else's (macvlan, ipvlan, a bridge of
    /// mode unmanaged) and no subnet is given.
    #[arg(long, value_name = "DRIVER")]
    ipam_driver: Option<Ipam>,
    /// Give it IPv6 as well
    #[arg(long)]
    ipv6: bool,
    /// Add a label
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Option of the driver, as mtu, isolate, parent or mode
    ///
    /// Of bridges: mtu, isolate, vlan (the tag of the VLAN that all its ports are in), mode (managed, or
    /// unmanaged: a bridge that others have made, by its --interface-name, with neither addresses nor
    /// firewall of barge's) and Docker's com.docker.network.*. Of macvlan and ipvlan: mtu, parent (the interface of this machine; one like
    /// eth0.100 is made for VLAN 100 of eth0 while containers are on it) and mode: bridge, private, vepa or passthru, and l2, l3 or
    /// l3s.
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Way to elsewhere for its containers
    #[arg(long, value_name = "NETWORK,GATEWAY[,METRIC]")]
    route: Vec<Route>,
    /// How far it reaches: local
    #[arg(long, value_name = "SCOPE", value_parser = ["local"], hide_possible_values = true)]
    scope: Option<String>,
    /// Its addresses; those of a free network if not given
    #[arg(long, value_name = "NETWORK")]
    subnet: Vec<Cidr>,
    /// Name; one is made up if there is none
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// What Docker calls the name of a bridge among what its driver is told.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

impl Act for Create {
    fn act(self, world: &mut World) -> Result<Status> {
        let (name, interface, ignore) =
            (self.name.clone(), self.interface_name.clone(), self.ignore);
        let spec = self.spec()?;
        let engine = world.power()?;
        let name = engine.create_network(NewNetwork { name, interface, ignore, spec })?;
        world.out.line(&name)?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[
            ("--disable-dns", self.disable_dns),
            ("--dns", !self.dns.is_empty()),
            ("--route", !self.route.is_empty()),
            ("--ipam-driver dhcp", self.ipam_driver == Some(Ipam::Dhcp)),
        ])?;
        let name = match self.name.clone() {
            Some(name) => name,
            // Docker's have names that somebody has given.
            None => format!("network-{}", &crate::engine::random_hex()?[..8]),
        };
        let ignore = self.ignore;
        // Docker's drivers have options of their own, which are passed on as they are.
        let mut options = object(&self.opt);
        if let Some(name) = &self.interface_name {
            options[BRIDGE_NAME] = json!(name);
        }
        let labels = object(&self.label);
        let attachable = self.attachable;
        let spec = Self { opt: Vec::new(), label: Vec::new(), ..self }.spec()?;
        let pool = |subnet: &Subnet| {
            let mut pool = json!({ "Subnet": subnet.subnet.to_string() });
            let reserved = spec.reserved.iter().filter(|it| subnet.subnet.contains(*it.1));
            let reserved: BTreeMap<_, _> = reserved.collect();
            if !reserved.is_empty() {
                pool["AuxiliaryAddresses"] = json!(reserved);
            }
            if let Some(gateway) = subnet.gateway {
                pool["Gateway"] = json!(gateway);
            }
            if let Some((first, last)) = subnet.range {
                let range = Range(first, last);
                let network = Cidr::spanning(first, last).map(|network| network.to_string());
                pool["IPRange"] = json!(network.unwrap_or_else(|| range.to_string()));
            }
            pool
        };
        let ipam = if spec.ipam == Ipam::None { "null" } else { "default" };
        let body = json!({
            "Name": name,
            "CheckDuplicate": true,
            "Driver": spec.driver.as_str(),
            "Internal": spec.internal,
            "Attachable": attachable,
            "EnableIPv6": spec.ipv6,
            "IPAM": { "Driver": ipam, "Config": spec.subnets.iter().map(pool).collect::<Vec<_>>() },
            "Options": options,
            "Labels": labels,
        });
        match host.document(Request::post("/networks/create").json(&body)) {
            Err(error) if ignore && error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
            Ok(made) => {
                if let Some(text) = made["Warning"].as_str().filter(|text| !text.is_empty()) {
                    output::warning(text);
                }
            }
        }
        world.out.line(&name)?;
        Ok(Status::SUCCESS)
    }
}

impl Create {
    fn spec(self) -> Result<NetworkSpec> {
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
            ipam: self.ipam_driver.unwrap_or_default(),
            ..NetworkSpec::default()
        };
        for label in &self.label {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            spec.labels.insert(key.to_owned(), value.to_owned());
        }
        self.opt.iter().try_for_each(|option| spec.add_option(option))?;
        if self.ipam_driver.is_none() && self.subnet.is_empty() && spec.is_of_others() {
            spec.ipam = Ipam::Dhcp;
        }
        spec.add_subnets(&self.subnet, &self.gateway, &self.ip_range)?;
        spec.reserve(self.aux_address)?;
        Ok(spec)
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

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        answers::exists(host, format!("/networks/{}", escape(&self.network)))
    }
}
