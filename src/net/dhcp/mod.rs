//! Addresses that somebody else on a network gives: a client of DHCP for each connection that has one.
//!
//! It is the container's monitor that asks: its loop polls [`Client::file`] and calls [`Client::turn`],
//! which asks, renews what is held in time, asks anew when that fails, and never waits. Whoever starts
//! or connects a container waits for the first answer, and holds no lock meanwhile. How to ask, and
//! what is held, is on record with the connection. It is given back when the container ends or leaves
//! the network.

mod message;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use self::message::{Answer, Question, Terms, Who, parse};
use super::endpoint::Connection;
use super::link::Links;
use crate::error::{Error, Kind};
use crate::spec::cidr::Cidr;
use crate::spec::id::ContainerId;
use crate::sys::packet::Packets;

/// Reads a packet as the answer of a server.
#[cfg(fuzzing)]
pub(super) fn read(packet: &[u8]) {
    let who = Who { mac: [2, 0, 0, 0, 0, 1], identity: vec![1], hostname: String::new() };
    parse(packet, &who, 1);
}

/// How long a container that starts, or is connected, waits for an address.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);
/// How long an answer is waited for at first, and at most, before the question is asked again.
const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_secs(64);
/// How often an address that was offered is asked for.
const REQUESTS: u32 = 4;
/// How many packets are looked at in one turn.
const PACKETS: usize = 64;

/// How a connection asks for its address, as it is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// What tells the container from others that have its hardware address; `None` if nobody has.
    pub(super) identity: Option<Vec<u8>>,
    /// The name that the server may make known.
    pub(super) hostname: String,
    /// Whether there is a way out of the network.
    pub(super) leads_out: bool,
}

/// What is held, as it is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    server: Ipv4Addr,
    /// How long it was granted, in seconds.
    seconds: u32,
    /// After which time it is to be renewed, in seconds.
    renewal: u32,
    /// When it was granted, in seconds since 1970.
    since: u64,
    /// What tells the container from others.
    identity: Vec<u8>,
    hostname: String,
}

/// What has become of a connection's address.
#[derive(Debug)]
pub(super) enum Event {
    /// It has this one.
    Granted(Terms),
    /// It has none any more.
    Lost,
}

/// Sees to the address of one connection.
#[derive(Debug)]
pub(super) struct Client {
    /// The network that the connection is to.
    pub(super) network: String,
    /// Whether there is a way out of that.
    pub(super) leads_out: bool,
    netns: OwnedFd,
    interface: u32,
    who: Who,
    /// Open while an answer is waited for.
    packets: Option<Packets>,
    stage: Stage,
    /// What tells the answers to our questions from others.
    number: u32,
    /// When there is something to do.
    next: Instant,
    tries: u32,
}

#[derive(Debug)]
enum Stage {
    Discovering,
    Requesting(Terms),
    /// There is nothing to do yet.
    Holding(Held),
    Renewing(Held),
}

/// An address that is held.
#[derive(Clone, Copy, Debug)]
struct Held {
    address: Ipv4Addr,
    server: Ipv4Addr,
    until: Instant,
}

impl Client {
    /// Begins to ask for an address for an interface that is up.
    fn new(connection: &Connection, netns: BorrowedFd<'_>, asking: Asking) -> io::Result<Self> {
        let Asking { identity, hostname, leads_out } = asking;
        let name = connection.interface.as_deref().unwrap_or_default();
        let link = Links::open_in(netns)?.find(name)?.ok_or(io::ErrorKind::NotFound)?;
        let mac = link.mac.ok_or(io::ErrorKind::Unsupported)?;
        let identity = identity.unwrap_or_else(|| [&[1][..], &mac].concat());
        let mut number = [0; 4];
        rustix::rand::getrandom(&mut number, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self {
            network: connection.network.clone(),
            leads_out,
            netns: netns.try_clone_to_owned()?,
            interface: link.index,
            who: Who { mac, identity, hostname },
            packets: None,
            stage: Stage::Discovering,
            number: u32::from_ne_bytes(number),
            next: Instant::now(),
            tries: 0,
        })
    }

    /// Sees to the address of a connection, whose interface is up: goes on with what it holds, or begins
    /// to ask. `None` if nobody is to be asked.
    pub(super) fn of(connection: &Connection, netns: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        match (Self::resume(connection, netns), &connection.asks) {
            (Some(client), _) => Ok(Some(client)),
            (None, Some(asks)) => Self::new(connection, netns, asks.clone()).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Goes on with what a connection holds.
    pub(super) fn resume(connection: &Connection, netns: BorrowedFd<'_>) -> Option<Self> {
        let lease = connection.lease.as_ref()?;
        let IpAddr::V4(address) = connection.address(true)?.address() else { return None };
        // An interface that is gone needs no address.
        let asking = Asking {
            identity: Some(lease.identity.clone()),
            hostname: lease.hostname.clone(),
            leads_out: !connection.gateways.is_empty(),
        };
        let mut client = Self::new(connection, netns, asking).ok()?;
        let age = now().saturating_sub(lease.since);
        let left = |seconds: u32| Duration::from_secs(u64::from(seconds).saturating_sub(age));
        let until = Instant::now() + left(lease.seconds);
        client.stage = Stage::Holding(Held { address, server: lease.server, until });
        client.next = Instant::now() + left(lease.renewal);
        Some(client)
    }

    /// Returns the namespace that the interface is in.
    pub(super) fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    /// Returns what is waited for.
    pub(super) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.packets.as_ref().map(AsFd::as_fd)
    }

    /// Returns how long it can wait.
    pub(super) fn left(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Does what is to be done now. `buffer` is for packets.
    pub(super) fn turn(&mut self, buffer: &mut [u8]) -> Option<Event> {
        for _ in 0..PACKETS {
            // What cannot be read is asked for again.
            let Some(Ok(Some(length))) = self.packets.as_ref().map(|it| it.receive(buffer)) else {
                break;
            };
            let Some(answer) = parse(&buffer[..length], &self.who, self.number) else { continue };
            let event = self.hear(answer);
            if event.is_some() {
                return event;
            }
        }
        if self.left().is_zero() { self.act() } else { None }
    }

    /// Takes an answer to the last question.
    fn hear(&mut self, answer: Answer) -> Option<Event> {
        match (&self.stage, answer) {
            (Stage::Discovering, Answer::Offer(terms)) => {
                self.go_on(Stage::Requesting(terms));
                self.act()
            }
            (Stage::Requesting(offer), Answer::Granted(terms))
                if offer.address == terms.address =>
            {
                Some(self.hold(terms))
            }
            (Stage::Renewing(held), Answer::Granted(terms)) if held.address == terms.address => {
                Some(self.hold(terms))
            }
            (Stage::Requesting(_), Answer::Refused) => {
                self.go_on(Stage::Discovering);
                // A server that refuses what it has offered is not to be pestered.
                self.next = Instant::now() + FIRST;
                None
            }
            (Stage::Renewing(_), Answer::Refused) => {
                self.go_on(Stage::Discovering);
                Some(Event::Lost)
            }
            _ => None,
        }
    }

    fn go_on(&mut self, stage: Stage) {
        self.stage = stage;
        self.tries = 0;
        self.next = Instant::now();
    }

    fn hold(&mut self, terms: Terms) -> Event {
        let Terms { address, server, seconds, renewal, .. } = terms;
        let after = |seconds: u32| Instant::now() + Duration::from_secs(seconds.into());
        self.go_on(Stage::Holding(Held { address, server, until: after(seconds) }));
        self.next = after(renewal);
        self.packets = None;
        Event::Granted(terms)
    }

    /// Asks what is to be asked now.
    fn act(&mut self) -> Option<Event> {
        let mut event = None;
        match &self.stage {
            Stage::Requesting(_) if self.tries >= REQUESTS => self.go_on(Stage::Discovering),
            Stage::Holding(held) => self.go_on(Stage::Renewing(*held)),
            Stage::Renewing(held) if Instant::now() >= held.until => {
                self.go_on(Stage::Discovering);
                event = Some(Event::Lost);
            }
            _ => {}
        }
        let (question, mut patience) = match &self.stage {
            Stage::Discovering => (Question::Discover, self.growing()),
            Stage::Requesting(terms) => {
                (Question::Request(terms.address, terms.server), self.growing())
            }
            Stage::Holding(held) | Stage::Renewing(held) => {
                // Half of what is left each time, as RFC 2131 has it.
                let half = held.until.saturating_duration_since(Instant::now()) / 2;
                (Question::Renew(held.address), half.max(FIRST))
            }
        };
        // An interface that is down, or gone, is one day up again, or the container ends.
        if self.ask(question).is_err() {
            patience = patience.max(FIRST);
            self.packets = None;
        }
        self.tries += 1;
        self.next = Instant::now() + patience;
        event
    }

    fn growing(&self) -> Duration {
        (FIRST * 2u32.saturating_pow(self.tries.min(8))).min(LAST)
    }

    fn ask(&mut self, question: Question) -> io::Result<()> {
        if self.packets.is_none() {
            self.packets = Some(Packets::open_in(self.netns.as_fd(), self.interface)?);
        }
        let packet = question.packet(&self.who, self.number);
        self.packets.as_ref().map_or(Ok(()), |packets| packets.send(&packet))
    }

    /// Gives back what is held. Nobody answers to that.
    pub(super) fn release(mut self) {
        if let Stage::Holding(held) | Stage::Renewing(held) = self.stage {
            // Who does not hear it finds out in time.
            drop(self.ask(Question::Release(held.address, held.server)));
        }
    }

    /// Writes what a server has said into a connection.
    pub(super) fn record(&self, terms: &Terms, connection: &mut Connection) {
        connection.addresses = Cidr::new(terms.address, terms.prefix).into_iter().collect();
        connection.gateways =
            terms.router.filter(|_| self.leads_out).map(IpAddr::V4).into_iter().collect();
        connection.servers = terms.name_servers.iter().copied().map(IpAddr::V4).collect();
        connection.lease = Some(Lease {
            server: terms.server,
            seconds: terms.seconds,
            renewal: terms.renewal,
            since: now(),
            identity: self.who.identity.clone(),
            hostname: self.who.hostname.clone(),
        });
    }
}

/// Says that nobody has given an address in time.
pub(super) fn nobody_gives(network: &str) -> Error {
    let text = format!("no DHCP server gives an address on network `{network}`");
    Error::new(Kind::Unavailable, text)
        .hint("see that there is one, or make the network with --subnet")
}

/// Returns what tells a container's connection from others where they have one hardware address.
pub(super) fn identity(id: &ContainerId, number: u8) -> Vec<u8> {
    // Of no type of hardware.
    let mut identity = vec![0];
    identity.extend(id.short().as_bytes());
    identity.push(number);
    identity
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
