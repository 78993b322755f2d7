//! What is known of names without asking anybody: those of the containers on the same networks.

use std::net::IpAddr;

use super::message::{Query, Record, Wanted};
use crate::net::{Connection, Endpoint};
use crate::spec::id::ContainerId;
use crate::store::Store;

/// The domain that all containers are in; Podman's.
const DOMAIN: &str = "dns.podman";

/// What the records say of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is somebody's, and has these records of the kind that is asked for; nobody else is asked.
    Records(Vec<Record>),
    /// It is nobody's, and cannot be anybody's out there.
    NoName,
    /// Others may know.
    Nothing,
}

/// A network, as a container on it knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its name.
    network: String,
    /// Names that the container has for others, and their own, all in lower case.
    links: Vec<(String, String)>,
}

impl Known {
    /// Returns what is known by a connection.
    pub(super) fn by(connection: &Connection) -> Self {
        let links = connection.links.iter();
        let links = links.map(|it| [&it.alias, &it.container].map(|it| it.to_ascii_lowercase()));
        Self {
            network: connection.network.clone(),
            links: links.map(|[alias, container]| (alias, container)).collect(),
        }
    }

    /// Returns the name that a container itself has which is known by this one.
    fn own_name<'a>(&'a self, name: &'a str) -> &'a str {
        let link = self.links.iter().find(|(alias, _)| alias == name);
        link.map_or(name, |(_, container)| container)
    }
}

/// What was found a moment ago: many who ask at once mostly ask the same.
#[derive(Debug, Default)]
pub(super) struct Recent(Vec<(String, Vec<IpAddr>)>);

impl Recent {
    /// Returns the addresses of a name, by `find` if nobody has asked for it yet.
    fn addresses(&mut self, name: &str, find: impl FnOnce() -> Vec<IpAddr>) -> Vec<IpAddr> {
        if let Some((_, addresses)) = self.0.iter().find(|(known, _)| known == name) {
            return addresses.clone();
        }
        let addresses = find();
        self.0.push((name.to_owned(), addresses.clone()));
        addresses
    }
}

/// Looks a query up in the records of some networks.
pub(super) fn look_up(
    store: &Store,
    networks: &[Known],
    query: &Query,
    recent: &mut Recent,
) -> Found {
    if query.wanted == Wanted::Names {
        let names = query.reversed().and_then(|address| names_of(store, networks, address));
        return names.map_or(Found::Nothing, Found::Records);
    }
    let mut addresses =
        recent.addresses(&query.name, || addresses_of(store, networks, &query.name));
    if addresses.is_empty() {
        let is_ours = query.name.strip_suffix(DOMAIN).is_some_and(|it| it.ends_with('.'));
        return if is_ours { Found::NoName } else { Found::Nothing };
    }
    let wants = |address: &IpAddr| match query.wanted {
        Wanted::Ipv4 => address.is_ipv4(),
        Wanted::Ipv6 => address.is_ipv6(),
        Wanted::Any => true,
        Wanted::Names | Wanted::Other => false,
    };
    addresses.retain(wants);
    // Those who take the first one come to each of them.
    if let Some(turn) = addresses.len().checked_sub(1).filter(|last| *last > 0) {
        let seed = query.id();
        addresses.rotate_left(usize::from(seed[0] ^ seed[1]) % (turn + 1));
    }
    Found::Records(addresses.into_iter().map(Record::Address).collect())
}

/// Returns the addresses of all who have a name, each once.
fn addresses_of(store: &Store, networks: &[Known], name: &str) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for known in networks {
        let network = &known.network;
        for name in within(name, network) {
            let known = store.network(network).known(known.own_name(name));
            let living = known.into_iter().filter(|(holder, _)| lives(store, holder));
            addresses.extend(living.flat_map(|(_, addresses)| addresses));
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses
}

/// Returns what a name may be within a network: as it is, without the domain, without the network's
/// name.
fn within<'a>(name: &'a str, network: &str) -> impl Iterator<Item = &'a str> {
    let before = |suffix: &str| name.strip_suffix(suffix)?.strip_suffix('.');
    let short = [before(DOMAIN), before(&network.to_ascii_lowercase())];
    [Some(name)].into_iter().chain(short).flatten()
}

/// Returns the names of the container that has an address; its own one first.
fn names_of(store: &Store, networks: &[Known], address: IpAddr) -> Option<Vec<Record>> {
    networks.iter().find_map(|Known { network, .. }| {
        let holder = store.network(network).holder(address).filter(|it| lives(store, it))?;
        let endpoint = store.endpoint::<Endpoint>(&holder).ok()??;
        let connection = endpoint.connections.into_iter().find(|it| it.network == *network)?;
        Some(connection.names.into_iter().map(Record::Name).collect())
    })
}

/// Tells whether a container has a monitor: the records of one that was killed are still there.
fn lives(store: &Store, holder: &ContainerId) -> bool {
    store.containers().is_monitored(holder).unwrap_or(true)
}
