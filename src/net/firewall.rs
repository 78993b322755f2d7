//! Our own firewall table: the way out, published ports, and walls between networks.
//!
//! ```text
//! table inet NAME {
//!   map published_at { ADDRESS . PROTOCOL . PORT : CONTAINER'S ADDRESS . PORT }
//!   map published    {           PROTOCOL . PORT : CONTAINER'S ADDRESS . PORT }
//!   chain redirect     the maps, the more particular one first
//!   chain guard        nobody on a bridge speaks to, or as, 127.0.0.0/8
//!   chain arriving     to this machine: redirect
//!   chain from_here    the same for our own connections
//!   chain forward      into a bridge: only answers, published ports, and neighbors
//!   chain leaving      out of a bridge: under our own address
//!   chain visiting     without root, from here: under a visitor's address
//!   chain returning    and back
//! }
//! ```
//!
//! A published port is one element of a map, so a packet's way does not get longer with their number
//! and a container's ports come and go in one small transaction. Other tables are not touched, which
//! also means that what others drop stays dropped.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use super::ground::Ground;
use super::link::VISITORS;
use super::nft::{self, Element, Field, Hook, Map, Transaction};
use super::ports::PublishedPort;
use super::rule::{End, Rule};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::spec::id::ContainerId;
use crate::spec::network::Protocol;
use crate::spec::network_spec::Isolation;
use crate::sys::netlink::Refused;

const PUBLISHED_AT: Map = Map {
    name: "published_at",
    key: &[Field::Address, Field::Protocol, Field::Port],
    value: &[Field::Address, Field::Port],
};
const PUBLISHED: Map = Map {
    name: "published",
    key: &[Field::Protocol, Field::Port],
    value: &[Field::Address, Field::Port],
};

/// The port of name servers.
const NAMES: u16 = 53;

const GUARD: Hook = Hook { kind: "filter", number: 0, priority: -300 };
const ARRIVING: Hook = Hook { kind: "nat", number: 0, priority: -100 };
const FROM_HERE: Hook = Hook { kind: "nat", number: 3, priority: -100 };
const FORWARD: Hook = Hook { kind: "filter", number: 2, priority: 0 };
const VISITING: Hook = Hook { kind: "filter", number: 3, priority: -150 };
const RETURNING: Hook = Hook { kind: "filter", number: 0, priority: -150 };
const LEAVING: Hook = Hook { kind: "nat", number: 4, priority: 100 };

/// A network that the table serves.
#[derive(Clone, Copy)]
pub(super) struct Network<'a> {
    /// The bridge.
    pub(super) interface: &'a str,
    /// The containers' addresses.
    pub(super) subnets: &'a [Cidr],
    /// Whether there is no way out of it.
    pub(super) internal: bool,
    /// Whether what goes out does so under this machine's address.
    pub(super) masquerades: bool,
    /// Whether containers on other networks are let in.
    pub(super) isolation: Isolation,
}

/// The published ports of one container.
#[derive(Clone, Copy)]
pub(super) struct Publication<'a> {
    /// The container.
    pub(super) holder: &'a ContainerId,
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// Its ports.
    pub(super) ports: &'a [PublishedPort],
}

/// Leads questions for names to where they are answered, in a container's namespace: from the usual
/// port of the address.
pub(super) fn redirect_names(netns: BorrowedFd<'_>, to: SocketAddr) -> Result<()> {
    let SocketAddr::V4(to) = to else { return Ok(()) };
    let element = |protocol| {
        let mut key = to.ip().octets().to_vec();
        key.extend_from_slice(&[protocol_number(protocol), 0, 0, 0]);
        key.extend_from_slice(&port_field(NAMES));
        let mut value = to.ip().octets().to_vec();
        value.extend_from_slice(&port_field(to.port()));
        Element { key, value, comment: "names".to_owned() }
    };
    let mut transaction = Transaction::on("barge");
    transaction.add_table();
    transaction.add_map(PUBLISHED_AT);
    transaction.add_chain("names", Some(FROM_HERE));
    transaction.add_rule("names", Rule::default().redirect(PUBLISHED_AT, true));
    transaction.add_elements(PUBLISHED_AT, &[element(Protocol::Udp), element(Protocol::Tcp)]);
    let committed = nft::open_in(netns)
        .map_err(Refused::from)
        .and_then(|mut socket| transaction.commit(&mut socket));
    committed.map_err(|refused| explain(refused.error, "barge"))
}

/// Takes back what [`redirect_names`] has done, if it has.
pub(super) fn forget_names(netns: BorrowedFd<'_>) -> Result<()> {
    let mut transaction = Transaction::on("barge");
    transaction.add_table();
    transaction.delete_table();
    let committed = nft::open_in(netns)
        .map_err(Refused::from)
        .and_then(|mut socket| transaction.commit(&mut socket));
    committed.map_err(|refused| explain(refused.error, "barge"))
}

/// Tells whether the table is there.
pub(super) fn is_installed(ground: &Ground, table: &str) -> Result<bool> {
    ground
        .firewall()
        .and_then(|mut socket| nft::find_table(&mut socket, table))
        .map(|found| found.is_some())
        .map_err(|error| explain(error, table))
}

/// Tells whether the table has as many rules as it should have for these networks.
pub(super) fn is_whole(ground: &Ground, table: &str, networks: &[Network<'_>]) -> Result<bool> {
    let wanted = made(ground, table, networks, &[]).rules();
    ground
        .firewall()
        .and_then(|mut socket| nft::count_rules(&mut socket, table))
        .map(|count| count == wanted)
        .map_err(|error| explain(error, table))
}

/// Makes the table, in place of the one that may be there, in one step.
pub(super) fn install(
    ground: &Ground,
    table: &str,
    networks: &[Network<'_>],
    publications: &[Publication<'_>],
) -> Result<()> {
    let transaction = made(ground, table, networks, publications);
    commit(ground, transaction).map_err(|refused| explain(refused.error, table))
}

/// Decides what the table will be.
fn made<'a>(
    ground: &Ground,
    table: &'a str,
    networks: &[Network<'_>],
    publications: &[Publication<'_>],
) -> Transaction<'a> {
    let mut transaction = Transaction::on(table);
    // Removing what was just added is fine, removing what is not there is not.
    transaction.add_table();
    transaction.delete_table();
    transaction.add_table();
    transaction.add_map(PUBLISHED_AT);
    transaction.add_map(PUBLISHED);
    transaction.add_chain("redirect", None);
    transaction.add_rule("redirect", Rule::default().redirect(PUBLISHED_AT, true));
    transaction.add_rule("redirect", Rule::default().redirect(PUBLISHED, false));
    transaction.add_chain("guard", Some(GUARD));
    transaction.add_chain("arriving", Some(ARRIVING));
    if let Some(loopback) = Cidr::new(Ipv4Addr::new(127, 0, 0, 0), 8) {
        // A neighbor could send us what claims to be for loopback; redirected, it would arrive.
        let rule = Rule::default().network(End::Destination, loopback);
        transaction.add_rule("arriving", rule.leave());
        for network in networks {
            for end in [End::Source, End::Destination] {
                let rule = Rule::default().interface(End::Source, network.interface);
                transaction.add_rule("guard", rule.network(end, loopback).drop());
            }
        }
    }
    transaction.add_rule("arriving", Rule::default().for_this_machine().jump("redirect"));
    transaction.add_chain("from_here", Some(FROM_HERE));
    transaction.add_rule("from_here", Rule::default().for_this_machine().jump("redirect"));
    if ground.is_shared() {
        // What the relay sends under a visitor's address: the answers are to come back to it.
        transaction.add_chain("visiting", Some(VISITING));
        transaction.add_rule(
            "visiting",
            Rule::default().entering_from_elsewhere().mark_connection(VISITORS),
        );
        transaction.add_chain("returning", Some(RETURNING));
        transaction.add_rule("returning", Rule::default().marked(VISITORS).mark_packet(VISITORS));
    }
    transaction.add_chain("forward", Some(FORWARD));
    transaction.add_chain("leaving", Some(LEAVING));
    for network in networks {
        wall(&mut transaction, network, networks);
    }
    for network in networks {
        serve(&mut transaction, network, networks);
    }
    for publication in publications {
        let (at, anywhere) = elements(publication);
        transaction.add_elements(PUBLISHED_AT, &at);
        transaction.add_elements(PUBLISHED, &anywhere);
    }
    transaction
}

/// Adds the rules that keep everybody away from a network, whatever others allow.
fn wall(transaction: &mut Transaction<'_>, network: &Network<'_>, all: &[Network<'_>]) {
    let own = network.interface;
    if network.internal {
        for (end, other) in [(End::Source, End::Destination), (End::Destination, End::Source)] {
            let rule = Rule::default().interface(end, own).other_interface(other, own);
            transaction.add_rule("forward", rule.drop());
        }
    }
    if network.isolation == Isolation::Strict {
        for other in all.iter().filter(|other| other.interface != own) {
            let rule = Rule::default().interface(End::Destination, own);
            let rule = rule.interface(End::Source, other.interface).new_connection();
            transaction.add_rule("forward", rule.drop());
        }
    }
}

/// Adds the rules for one network.
fn serve(transaction: &mut Transaction<'_>, network: &Network<'_>, all: &[Network<'_>]) {
    let Network { interface, subnets, .. } = *network;
    let into = || Rule::default().interface(End::Destination, interface);
    transaction.add_rule("forward", into().interface(End::Source, interface).accept());
    transaction.add_rule("forward", into().established().accept());
    transaction.add_rule("forward", into().redirected().accept());
    let is_open = |it: &&Network<'_>| it.isolation == Isolation::Open;
    if is_open(&network) {
        for other in all.iter().filter(is_open).filter(|other| other.interface != interface) {
            transaction
                .add_rule("forward", into().interface(End::Source, other.interface).accept());
        }
    }
    transaction.add_rule("forward", into().drop());
    // The container must answer to us, not to an address of its own or of its own network, which it
    // would do directly: the answers have to be changed back.
    let loopback = Cidr::new(Ipv4Addr::new(127, 0, 0, 0), 8);
    let ipv4 = subnets.iter().copied().filter(|subnet| subnet.address().is_ipv4());
    for source in loopback.into_iter().chain(ipv4) {
        let rule = into().network(End::Source, source).redirected();
        transaction.add_rule("leaving", rule.masquerade());
    }
    if network.masquerades && !network.internal {
        for subnet in subnets {
            let out = Rule::default().other_interface(End::Destination, interface);
            transaction.add_rule("leaving", out.network(End::Source, *subnet).masquerade());
        }
    }
}

/// What came of opening a container's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// They are open.
    Done,
    /// The table is not there.
    NoTable,
    /// One of them leads to somebody else.
    Taken,
}

/// Opens a container's ports, all or none.
pub(super) fn publish(
    ground: &Ground,
    table: &str,
    publication: &Publication<'_>,
) -> Result<Published> {
    let (at, anywhere) = elements(publication);
    let mut transaction = Transaction::on(table);
    transaction.add_elements(PUBLISHED_AT, &at);
    transaction.add_elements(PUBLISHED, &anywhere);
    match commit(ground, transaction) {
        Ok(()) => Ok(Published::Done),
        Err(refused) => match refused.error.raw_os_error() {
            Some(libc::ENOENT) => Ok(Published::NoTable),
            Some(libc::EBUSY | libc::EEXIST) => Ok(Published::Taken),
            _ => Err(refused.error).context(|| {
                format!("cannot publish ports of container {}", publication.holder.short())
            }),
        },
    }
}

/// Closes a container's ports; those that are not open are fine.
pub(super) fn withdraw(ground: &Ground, table: &str, publication: &Publication<'_>) -> Result<()> {
    let (at, anywhere) = elements(publication);
    let mut whole = Transaction::on(table);
    whole.delete_elements(PUBLISHED_AT, &at);
    whole.delete_elements(PUBLISHED, &anywhere);
    let mut result = commit(ground, whole);
    if result.as_ref().is_err_and(is_missing) {
        // One is missing, or all are, with the table. Go through them one by one.
        result = at
            .chunks(1)
            .map(|one| (PUBLISHED_AT, one))
            .chain(anywhere.chunks(1).map(|one| (PUBLISHED, one)))
            .try_for_each(|(map, one)| {
                let mut single = Transaction::on(table);
                single.delete_elements(map, one);
                match commit(ground, single) {
                    Err(refused) if is_missing(&refused) => Ok(()),
                    other => other,
                }
            });
    }
    result.map_err(|refused| refused.error).context(|| {
        format!("cannot withdraw the published ports of container {}", publication.holder.short())
    })
}

/// Removes the table; one that is not there is fine.
pub(super) fn remove(ground: &Ground, table: &str) -> Result<()> {
    let mut transaction = Transaction::on(table);
    transaction.delete_table();
    match commit(ground, transaction) {
        Err(refused) if is_missing(&refused) => Ok(()),
        other => other
            .map_err(|refused| refused.error)
            .context(|| format!("cannot remove firewall table `{table}`")),
    }
}

fn commit(ground: &Ground, transaction: Transaction<'_>) -> Result<(), Refused> {
    if transaction.is_empty() {
        return Ok(());
    }
    transaction.commit(&mut ground.firewall()?)
}

fn is_missing(refused: &Refused) -> bool {
    refused.error.raw_os_error() == Some(libc::ENOENT)
}

/// Says what a failure to set the table up means for the user.
fn explain(error: io::Error, table: &str) -> Error {
    let code = error.raw_os_error();
    let outer = |kind| {
        let message = format!("cannot set up firewall table `{table}`");
        Error::new(kind, message).caused_by(error)
    };
    match code {
        // A missing subsystem, chain type or expression: each has its own way of being missing.
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EINVAL) => {
            outer(Kind::Unsupported).hint(
                "the kernel needs nf_tables with nat, masquerade and fib (modules nf_tables, \
                 nft_chain_nat, nft_masq, nft_fib_inet); or use --network host or none",
            )
        }
        Some(libc::EPERM) => outer(Kind::Denied).hint("this needs the capability NET_ADMIN"),
        _ => outer(Kind::Internal),
    }
}

/// Encodes a container's ports: those of one address of this machine, and those of all of them.
fn elements(publication: &Publication<'_>) -> (Vec<Element>, Vec<Element>) {
    let mut at = Vec::new();
    let mut anywhere = Vec::new();
    for port in publication.ports {
        let IpAddr::V4(host) = port.host_ip else { continue };
        let mut key = Vec::with_capacity(12);
        if !host.is_unspecified() {
            key.extend_from_slice(&host.octets());
        }
        key.extend_from_slice(&[protocol_number(port.protocol), 0, 0, 0]);
        key.extend_from_slice(&port_field(port.host_port));
        let mut value = publication.address.octets().to_vec();
        value.extend_from_slice(&port_field(port.container_port));
        let element = Element { key, value, comment: publication.holder.short().to_owned() };
        if host.is_unspecified() {
            anywhere.push(element);
        } else {
            at.push(element);
        }
    }
    (at, anywhere)
}

fn port_field(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}
