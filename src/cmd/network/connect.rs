//! `barge network connect`, `disconnect`, `reload` and `update`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;
use serde_json::json;

use crate::api::model::asked::endpoint;
use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::membership::{Link, Mac, Membership, parse_alias};

/// Connect a container to one more network
///
/// A container that runs has it at once, and all its later runs have it, too.
#[derive(Args, Debug)]
pub(crate) struct Connect {
    /// Name by which others on the network know it
    #[arg(long, value_name = "NAME", value_parser = parse_alias)]
    alias: Vec<String>,
    /// Interface, as com.docker.network.endpoint.ifname=NAME
    #[arg(long, value_name = "NAME=VALUE")]
    driver_opt: Vec<String>,
    /// Number; the network with the highest one leads out
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_hyphen_values = true)]
    gw_priority: i64,
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
    /// Network, by name or ID
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Act for Connect {
    fn act(self, world: &mut World) -> Result<Status> {
        let member = self.member()?;
        world.power()?.connect_network(&self.container, member)?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        let member = self.member()?;
        let body = json!({ "Container": self.container, "EndpointConfig": endpoint(&member) });
        let path = format!("/networks/{}/connect", escape(&self.network));
        host.act(Request::post(path).json(&body))?;
        Ok(Status::SUCCESS)
    }
}

impl Connect {
    fn member(&self) -> Result<Membership> {
        let mut member = Membership {
            aliases: self.alias.clone(),
            links: self.link.clone(),
            ipv4: self.ip,
            ipv6: self.ip6,
            mac: self.mac_address,
            priority: self.gw_priority,
            ..Membership::of(&self.network)
        };
        for option in &self.driver_opt {
            let (name, value) = option.split_once('=').ok_or_else(|| {
                Error::new(Kind::Invalid, format!("invalid option `{option}` of a driver"))
                    .hint("write NAME=VALUE")
            })?;
            member.set_driver_option(name, value)?;
        }
        Ok(member)
    }
}

/// Disconnect a container from a network
#[derive(Args, Debug)]
pub(crate) struct Disconnect {
    /// Do not complain if there is no such container
    #[arg(short, long)]
    force: bool,
    /// Network, by name or ID
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Act for Disconnect {
    fn act(self, world: &mut World) -> Result<Status> {
        world.power()?.disconnect_network(&self.container, &self.network, self.force)?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        let body = json!({ "Container": self.container, "Force": self.force });
        let path = format!("/networks/{}/disconnect", escape(&self.network));
        host.act(Request::post(path).json(&body))?;
        Ok(Status::SUCCESS)
    }
}

/// Make interfaces and firewall rules anew that others have removed
///
/// All of them, whichever containers are named, whose IDs are printed. Where firewalld runs, it is told of
/// the networks again.
#[derive(Args, Debug)]
pub(crate) struct Reload {
    /// All containers
    #[arg(short, long)]
    all: bool,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Act for Reload {
    fn act(mut self, world: &mut World) -> Result<Status> {
        if self.all != self.containers.is_empty() {
            return Err(Error::new(Kind::Invalid, "name containers, or pass --all, and not both"));
        }
        let engine = world.power()?;
        if self.all {
            let running = engine.list_running()?;
            let running = running.iter().filter(|it| it.state.run().is_some());
            self.containers.extend(running.map(|it| it.id().to_string()));
        }
        for id in engine.reload_networks(&self.containers)? {
            world.out.line(id.as_str())?;
        }
        Ok(Status::SUCCESS)
    }
}

/// Change the name servers of a network
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// Name server to add
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    dns_add: Vec<IpAddr>,
    /// Name server to leave out
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    dns_drop: Vec<IpAddr>,
    /// Network, by name or ID
    #[arg(value_name = "NETWORK")]
    network: String,
}

impl Act for Update {
    fn act(self, world: &mut World) -> Result<Status> {
        world.power()?.update_network(&self.network, &self.dns_add, &self.dns_drop)?;
        Ok(Status::SUCCESS)
    }
}
