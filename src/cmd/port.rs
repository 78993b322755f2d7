//! `barge port`

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use clap::Args;

use super::World;
use super::answers;
use super::containers::{Selection, listed};
use super::exit::Status;
use super::tree::Act;
use crate::api::model::network::published;
use crate::error::{Error, Kind, Result};
use crate::net::PublishedPort;
use crate::remote::{Host, Request, escape};
use crate::spec::network::Protocol;

/// Show where the ports of a running container are published
#[derive(Args, Debug)]
pub(crate) struct Port {
    /// Of all containers that run
    #[arg(short, long)]
    all: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Container, by name or ID, unless --latest is given
    #[arg(value_name = "CONTAINER")]
    container: Option<String>,
    /// Only this port of the container, as in 80/tcp
    #[arg(value_name = "PORT")]
    port: Option<String>,
}

impl Act for Port {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        if self.all {
            self.check_all()?;
            for container in listed(&engine)? {
                for port in published(&container.state) {
                    world.out.line(&format!("{}\t{}", container.id().short(), line(&port)))?;
                }
            }
            return Ok(Status::SUCCESS);
        }
        let (name, port) = match self.latest {
            true => (None, self.container.or(self.port)),
            false => (self.container, self.port),
        };
        let names = Selection::named(name.into_iter().collect(), self.latest)
            .chosen(&engine, Vec::new())?;
        let container = engine.lookup(names.first().map(String::as_str).unwrap_or_default())?;
        match port {
            None => show_all(world, &published(&container.state)),
            Some(text) => show_one(world, &published(&container.state), &text),
        }
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        if self.all {
            self.check_all()?;
            for found in answers::entries(host.document(Request::get("/containers/json"))?) {
                let id = answers::id(answers::text(&found, "Id"), false).to_owned();
                for port in published_on(host, &id)? {
                    world.out.line(&format!("{id}\t{}", line(&port)))?;
                }
            }
            return Ok(Status::SUCCESS);
        }
        let (name, port) = match self.latest {
            true => (None, self.container.or(self.port)),
            false => (self.container, self.port),
        };
        let names = Selection::named(name.into_iter().collect(), self.latest)
            .chosen_on(host, Vec::new())?;
        let ports = published_on(host, names.first().map(String::as_str).unwrap_or_default())?;
        match port {
            None => show_all(world, &ports),
            Some(text) => show_one(world, &ports, &text),
        }
    }
}

impl Port {
    fn check_all(&self) -> Result<()> {
        if self.latest || self.container.is_some() {
            let text = "--all cannot be used together with --latest or a container";
            return Err(Error::new(Kind::Invalid, text));
        }
        Ok(())
    }
}

/// Returns where the ports of a container of another host are published.
fn published_on(host: &Host, name: &str) -> Result<Vec<PublishedPort>> {
    let found = host.document(Request::get(format!("/containers/{}/json", escape(name))))?;
    let mut all = Vec::new();
    for (inside, bindings) in found["NetworkSettings"]["Ports"].as_object().into_iter().flatten() {
        let (port, protocol) = inside.split_once('/').unwrap_or((inside, "tcp"));
        for binding in bindings.as_array().into_iter().flatten() {
            let number = answers::text(binding, "HostPort").parse();
            let address = match answers::text(binding, "HostIp") {
                "" => Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                address => address.parse(),
            };
            if let (Ok(container_port), Ok(protocol), Ok(host_ip), Ok(host_port)) =
                (port.parse(), protocol.parse(), address, number)
            {
                all.push(PublishedPort { host_ip, host_port, container_port, protocol });
            }
        }
    }
    Ok(all)
}

fn show_all(world: &mut World, ports: &[PublishedPort]) -> Result<Status> {
    for port in ports {
        world.out.line(&line(port))?;
    }
    Ok(Status::SUCCESS)
}

fn show_one(world: &mut World, ports: &[PublishedPort], text: &str) -> Result<Status> {
    let wanted: Wanted = text.parse()?;
    let mut found = false;
    for port in ports {
        let same = port.container_port == wanted.port
            && wanted.protocol.is_none_or(|protocol| protocol == port.protocol);
        if same {
            found = true;
            world.out.line(&outside(port))?;
        }
    }
    if found {
        return Ok(Status::SUCCESS);
    }
    Err(Error::new(Kind::NotFound, format!("failed to find published port \"{text}\"")))
}

/// One port of a container, as in `80` or `80/udp`.
struct Wanted {
    port: u16,
    protocol: Option<Protocol>,
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (port, protocol) = match text.split_once('/') {
            Some((port, protocol)) => (port, Some(protocol.parse()?)),
            None => (text, None),
        };
        let port = port.parse().map_err(|_| {
            Error::new(Kind::Invalid, format!("invalid port `{text}`"))
                .hint("write the container's port, as in 80 or 80/udp")
        })?;
        Ok(Self { port, protocol })
    }
}

fn line(port: &PublishedPort) -> String {
    format!("{}/{} -> {}", port.container_port, port.protocol, outside(port))
}

fn outside(port: &PublishedPort) -> String {
    std::net::SocketAddr::new(port.host_ip, port.host_port).to_string()
}
