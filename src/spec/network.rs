//! What network a container is on, and the ports that it publishes.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The network that a container is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// What is usual here: the default bridge as root, pasta without root.
    #[default]
    Default,
    /// A namespace of its own with nothing but loopback.
    None,
    /// The host's own network.
    Host,
    /// The bridge network of this name; the default one is called `bridge`.
    Bridge(String),
    /// The user-mode network stack pasta (rootless only).
    Pasta,
    /// The network namespace of another container, by name or ID.
    Container(String),
    /// An existing network namespace.
    Ns(PathBuf),
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// One published port (or a range of them), as in `127.0.0.1:8080-8081:80-81/udp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Address on the host; `None` is all of them.
    pub host_ip: Option<IpAddr>,
    /// First port on the host; `None` lets the tool choose a free one.
    pub host_port: Option<u16>,
    /// First port in the container.
    pub container_port: u16,
    /// How many ports, from the first ones on; at least 1.
    pub count: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// Names and name servers that a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NameResolution {
    /// Name servers; empty takes the host's.
    pub servers: Vec<IpAddr>,
    /// Search domains; empty takes the host's.
    pub search: Vec<String>,
    /// Resolver options, as in `ndots:2`.
    pub options: Vec<String>,
    /// Lines for /etc/hosts: a name and an address, which may be the word `host-gateway`.
    pub hosts: Vec<(String, String)>,
}
