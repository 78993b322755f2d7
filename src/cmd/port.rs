//! `barge port`

use std::str::FromStr;

use clap::Args;

use super::World;
use super::containers::{Selection, listed};
use super::exit::Status;
use super::tree::Act;
use crate::api::model::network::published;
use crate::error::{Error, Kind, Result};
use crate::net::PublishedPort;
use crate::spec::network::Protocol;
use crate::store::container::Container;

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
            if self.latest || self.container.is_some() {
                let text = "--all cannot be used together with --latest or a container";
                return Err(Error::new(Kind::Invalid, text));
            }
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
            None => show_all(world, &container),
            Some(text) => show_one(world, &container, &text),
        }
    }
}

fn show_all(world: &mut World, container: &Container) -> Result<Status> {
    for port in published(&container.state) {
        world.out.line(&line(&port))?;
    }
    Ok(Status::SUCCESS)
}

fn show_one(world: &mut World, container: &Container, text: &str) -> Result<Status> {
    let wanted: Wanted = text.parse()?;
    let mut found = false;
    for port in published(&container.state) {
        let same = port.container_port == wanted.port
            && wanted.protocol.is_none_or(|protocol| protocol == port.protocol);
        if same {
            found = true;
            world.out.line(&outside(&port))?;
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
