//! How a container is connected: what is on record of it while it runs.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::dhcp::{Asking, Lease};
use super::plugin::Attachment;
use super::ports::PublishedPort;
use crate::spec::cidr::Cidr;
use crate::spec::membership::Link;
use crate::spec::network::NetworkMode;
use crate::spec::network_spec::Route;

/// How a container is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Its networks; the first one is `pasta`, `host` or `none`, or all of them are bridges.
    pub connections: Vec<Connection>,
    /// Name server that is in reach when the host's own may not be.
    pub name_server: Option<IpAddr>,
    /// Whether questions for names are answered in its namespace.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resolver: bool,
    /// Whether its bridges are in the namespace that containers share without root.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Address of the host as the container sees it.
    pub host: Option<IpAddr>,
    /// Ports that are published.
    pub ports: Vec<PublishedPort>,
}

/// How a container is on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// Name of the network.
    pub network: String,
    /// Which of the container's connections it is; its interface on the host is named by that.
    pub number: u8,
    /// Name of the interface in the container.
    pub interface: Option<String>,
    /// Whether it is on a network of others, with which the firewall has nothing to do.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub direct: bool,
    /// Hardware address of that interface.
    pub mac: Option<String>,
    /// Its addresses, at most one of each version of IP on a bridge.
    pub addresses: Vec<Cidr>,
    /// Where packets for the rest of the world go, one of each version of IP.
    pub gateways: Vec<IpAddr>,
    /// Of those that lead out, the one with the highest number is taken, and of several the first.
    #[serde(skip_serializing_if = "is_zero")]
    pub priority: i64,
    /// Whether those who come to published ports are seen under their own address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub visitors: bool,
    /// Ways to elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Name servers that the network has for all other names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Names by which the network's containers know this one; none where the network has no names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Names of its own for others, where the network has names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Others that it has names for, where the network has none: lines of its `/etc/hosts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<(IpAddr, String)>,
    /// How an address is asked for, where addresses are given by DHCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asks: Option<Asking>,
    /// What somebody else on the network has granted, where addresses are given by DHCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// How the network's plugin has connected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Endpoint {
    /// Returns how a container is connected that has the host's network, none, or somebody else's:
    /// what it takes to write its files.
    pub fn plain(mode: &NetworkMode) -> Self {
        let network = mode.to_string();
        let connection = Connection { network, ..Connection::default() };
        Self { connections: vec![connection], ..Self::default() }
    }

    /// Returns the connections to networks whose names the container knows.
    pub(super) fn connections_with_names(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().filter(|it| !it.names.is_empty())
    }

    /// Returns the name of the first network.
    pub fn network(&self) -> &str {
        self.connections.first().map_or("", |connection| &connection.network)
    }

    /// Returns how it is on a network, if it is.
    pub fn on(&self, network: &str) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.network == network)
    }

    /// Returns all addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let all = self.connections.iter().flat_map(|connection| &connection.addresses);
        all.map(|address| address.address())
    }

    /// Returns others that it has names for: their addresses, and what they are called.
    pub fn linked(&self) -> impl Iterator<Item = &(IpAddr, String)> {
        self.connections.iter().flat_map(|connection| &connection.linked)
    }

    /// Tells whether it is on a network that our firewall serves.
    pub(super) fn is_behind_us(&self) -> bool {
        self.connections.iter().any(|it| it.interface.is_some() && !it.direct)
            && !matches!(self.network(), "pasta" | "slirp4netns" | "host" | "none")
    }

    /// Returns the address to which we pass on what arrives at published ports.
    pub(super) fn relay_address(&self) -> Option<IpAddr> {
        let ipv4 = self.published_address().map(IpAddr::V4);
        let all = self.connections.iter().flat_map(|connection| &connection.addresses);
        ipv4.or_else(|| all.map(|address| address.address()).next())
    }

    /// Tells whether we can pass on what arrives under the address of who has sent it: the container must
    /// answer by the network on which it was reached.
    pub(super) fn sees_visitors(&self) -> bool {
        let Some(target) = self.published_address() else { return false };
        let way_out = self.way_out(true).filter(|it| it.visitors);
        way_out.and_then(|it| it.address(true)).is_some_and(|it| it.address() == target)
    }

    /// Returns the connection by which packets of one version of IP leave the container.
    pub(super) fn way_out(&self, ipv4: bool) -> Option<&Connection> {
        let leads_out = |it: &&Connection| {
            it.address(ipv4).is_some() && it.gateways.iter().any(|it| it.is_ipv4() == ipv4)
        };
        // The last of several maxima would be returned.
        self.connections.iter().rev().filter(leads_out).max_by_key(|it| it.priority)
    }

    /// Returns the address that published ports lead to.
    pub(super) fn published_address(&self) -> Option<Ipv4Addr> {
        let behind_us = self.connections.iter().filter(|connection| !connection.direct);
        behind_us.flat_map(|connection| &connection.addresses).find_map(|it| match it.address() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// Returns a number that no connection has.
    pub(super) fn free_number(&self) -> Option<u8> {
        (0..super::veth::MOST).find(|it| self.connections.iter().all(|other| other.number != *it))
    }

    /// Returns a name that no interface of the container has.
    pub(super) fn free_interface(&self) -> String {
        let taken = |name: &String| {
            self.connections.iter().any(|other| other.interface.as_ref() == Some(name))
        };
        let names = (0..).map(|number: u32| format!("eth{number}"));
        names.into_iter().find(|name| !taken(name)).unwrap_or_default()
    }
}

impl Connection {
    /// Returns the gateway of the same version of IP as an address.
    pub fn gateway_like(&self, address: IpAddr) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|it| it.is_ipv4() == address.is_ipv4())
    }

    /// Tells whether it has no address yet, and somebody else is to give it one.
    pub fn is_asking(&self) -> bool {
        self.asks.is_some() && self.addresses.is_empty()
    }

    /// Returns its address of one version of IP.
    pub fn address(&self, ipv4: bool) -> Option<Cidr> {
        self.addresses.iter().copied().find(|it| it.address().is_ipv4() == ipv4)
    }
}
