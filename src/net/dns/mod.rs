//! Answers to a container's questions for names.
//!
//! The monitor of each container on a network that users have made answers inside the container's
//! namespace, at 127.0.0.11, as Docker has it: nothing listens on this machine, nobody else can ask, and
//! what is known is what the container may know. Names of containers come from the records of its
//! networks; everything else is asked of name servers ([`upstream`]).
//!
//! The sockets have some port: the container may have a name server of its own on port 53. Rules in its
//! namespace lead there from port 53 of that one address. Where the kernel has no such rules, they have
//! that port.
//!
//! Nothing here waits. The monitor's loop polls [`Resolver::files`] and calls [`Resolver::turn`], which
//! does a bounded amount of work.

mod forward;
mod message;
mod names;
mod stream;
mod upstream;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use self::forward::{Pending, Progress};
use self::message::{Outcome, Query};
use self::names::{Found, Known, Recent};
use self::stream::Stream;
use self::upstream::Upstream;
use super::{Endpoint, firewall};
use crate::error::{Context, Kind, Result};
use crate::spec::id::ContainerId;
use crate::store::Store;
use crate::store::lease::Mark;
use crate::sys::netns;

/// Where the container asks.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// The port that it asks at.
const PORT: u16 = 53;

/// How many datagrams are read at once; others wait in the socket meanwhile.
const DATAGRAMS: usize = 64;
/// How many queries wait for name servers at once; further ones are not answered.
const MOST_PENDING: usize = 256;
/// How many connections there are at once.
const MOST_STREAMS: usize = 32;

/// Reads a message as a query, and as an answer to it.
#[cfg(fuzzing)]
pub(super) fn read(message: &[u8]) {
    let Ok(query) = message::parse(message) else { return };
    let address = message::Record::Address(ADDRESS.into());
    let name = message::Record::Name("web.internal".to_owned());
    for limit in [None, Some(message.len())] {
        let answer = query.answer(Outcome::Fine, &[address.clone(), name.clone()], limit);
        assert!(query.is_answered_by(query.id(), &answer));
    }
    query.is_answered_by(query.id(), message);
    query.reversed();
}

/// Answers a container's questions for names.
#[derive(Debug)]
pub(super) struct Resolver {
    store: Store,
    id: ContainerId,
    netns: OwnedFd,
    /// Name servers that the user has named for the container.
    asked: Vec<IpAddr>,
    /// Which record of its connections was read last.
    seen: Option<Mark>,
    networks: Vec<Known>,
    upstream: Upstream,
    datagrams: OwnedFd,
    listener: OwnedFd,
    pending: Vec<Pending>,
    streams: Vec<Stream>,
}

impl Resolver {
    /// Begins to listen in a container's namespace, of which loopback is up. How the container is
    /// connected is on record, and looked up again whenever that changes.
    pub(super) fn start(
        store: &Store,
        id: &ContainerId,
        asked: &[IpAddr],
        netns: BorrowedFd<'_>,
    ) -> Result<Self> {
        let what = || "cannot listen for the container's questions for names";
        let mut sockets = listen(netns, 0).context(what)?;
        let port = port_of(&sockets.0).context(what)?;
        match firewall::redirect_names(netns, SocketAddr::new(ADDRESS.into(), port)) {
            // Networks that are an interface's need no firewall, and the kernel may have none.
            Err(error) if error.kind() == Kind::Unsupported => {
                sockets = listen(netns, PORT).context(what)?;
            }
            led => led?,
        }
        let (datagrams, listener) = sockets;
        let mut resolver = Self {
            store: store.clone(),
            id: id.clone(),
            netns: netns.try_clone_to_owned().context(what)?,
            asked: asked.to_vec(),
            seen: None,
            networks: Vec::new(),
            upstream: Upstream::Nobody,
            datagrams,
            listener,
            pending: Vec::new(),
            streams: Vec::new(),
        };
        resolver.look_again();
        Ok(resolver)
    }

    /// Reads how the container is connected, if that has changed.
    fn look_again(&mut self) {
        let now = self.store.endpoint_mark(&self.id);
        if now.is_none() || now == self.seen {
            return;
        }
        // One that is gone is on its way down: it knows what it knew.
        let Ok(Some(endpoint)) = self.store.endpoint::<Endpoint>(&self.id) else { return };
        self.seen = now;
        self.networks = endpoint.connections_with_names().map(Known::by).collect();
        let mut servers = self.asked.clone();
        if servers.is_empty() {
            servers = endpoint.connections.iter().flat_map(|it| it.servers.clone()).collect();
        }
        let leads_out = endpoint.connections.iter().any(|it| !it.gateways.is_empty());
        self.upstream = match leads_out {
            _ if !servers.is_empty() => Upstream::Named { servers },
            true => Upstream::Host { servers: Vec::new(), seen: None },
            false => Upstream::Nobody,
        };
    }

    /// Returns what is waited for.
    pub(super) fn files(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let own = [&self.datagrams, &self.listener].map(|file| (file.as_fd(), PollFlags::IN));
        let pending = self.pending.iter().filter_map(Pending::file);
        own.into_iter()
            .chain(pending.map(|file| (file, PollFlags::IN)))
            .chain(self.streams.iter().map(Stream::file))
    }

    /// Returns how long it can wait.
    pub(super) fn left(&self) -> Option<Duration> {
        let pending = self.pending.iter().map(Pending::until);
        let next = pending.chain(self.streams.iter().map(Stream::until)).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Answers what can be answered, and hands on what cannot. `buffer` is for datagrams, all of which fit.
    pub(super) fn turn(&mut self, buffer: &mut [u8]) {
        self.look_again();
        self.look_for_answers(buffer);
        let mut recent = Recent::default();
        for _ in 0..DATAGRAMS {
            let received = rustix::net::recvfrom(&self.datagrams, &mut *buffer, RecvFlags::empty());
            let Ok((length, _, Some(client))) = received else { break };
            let Ok(client) = SocketAddr::try_from(client) else { continue };
            self.take(client, &buffer[..length], &mut recent);
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while self.streams.len() < MOST_STREAMS
            && let Ok(socket) = rustix::net::accept_with(&self.listener, flags)
        {
            self.streams.push(Stream::new(socket));
        }
        let Self { store, netns, networks, upstream, streams, .. } = self;
        let leads_out = !matches!(upstream, Upstream::Nobody);
        streams.retain_mut(|stream| {
            stream.step(upstream, netns.as_fd(), |query| {
                known(store, networks, leads_out, query, None, &mut Recent::default())
            })
        });
    }

    fn take(&mut self, client: SocketAddr, message: &[u8], recent: &mut Recent) {
        let query = match message::parse(message) {
            Ok(query) => query,
            Err(None) => return,
            Err(Some(refusal)) => return self.send(client, &refusal),
        };
        let leads_out = !matches!(self.upstream, Upstream::Nobody);
        let limit = Some(query.size);
        match known(&self.store, &self.networks, leads_out, &query, limit, recent) {
            Some(answer) => self.send(client, &answer),
            None if self.pending.len() < MOST_PENDING => {
                let netns = self.netns.as_fd();
                let pending = Pending::ask(client, query, message, &mut self.upstream, netns);
                self.pending.push(pending);
            }
            // Whoever asks asks again.
            None => {}
        }
    }

    fn look_for_answers(&mut self, buffer: &mut [u8]) {
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain_mut(|one| match one.look(&self.upstream, self.netns.as_fd(), buffer) {
            Progress::Waiting => true,
            Progress::Answered(answer) => {
                self.send(one.client, &answer);
                false
            }
            Progress::Failed => {
                self.send(one.client, &one.query.answer(Outcome::Failed, &[], None));
                false
            }
        });
        self.pending = pending;
    }

    fn send(&self, client: SocketAddr, answer: &[u8]) {
        // A client that is gone, or that does not read, loses it.
        let _lost = rustix::net::sendto(&self.datagrams, answer, SendFlags::empty(), &client);
    }
}

/// Returns the answer to a query if it is known here.
fn known(
    store: &Store,
    networks: &[Known],
    leads_out: bool,
    query: &Query,
    limit: Option<usize>,
    recent: &mut Recent,
) -> Option<Vec<u8>> {
    match names::look_up(store, networks, query, recent) {
        Found::Records(records) => Some(query.answer(Outcome::Fine, &records, limit)),
        Found::Nothing if leads_out => None,
        Found::NoName | Found::Nothing => Some(query.answer(Outcome::NoName, &[], limit)),
    }
}

/// Makes a socket of ours at some port, or this one, of the address in the namespace.
fn socket(netns: BorrowedFd<'_>, kind: i32, port: u16) -> io::Result<OwnedFd> {
    let socket = netns::socket_in(netns, libc::AF_INET, kind | libc::SOCK_NONBLOCK, 0)?;
    rustix::net::bind(&socket, &SocketAddr::new(ADDRESS.into(), port))?;
    Ok(socket)
}

/// Makes sockets for both protocols that listen at some port, or this one.
fn listen(netns: BorrowedFd<'_>, port: u16) -> io::Result<(OwnedFd, OwnedFd)> {
    let datagrams = socket(netns, libc::SOCK_DGRAM, port)?;
    // The port is free for the other protocol, too: nobody has had the time to take it.
    let listener = socket(netns, libc::SOCK_STREAM, port_of(&datagrams)?)?;
    rustix::net::listen(&listener, 16)?;
    Ok((datagrams, listener))
}

fn port_of(socket: &OwnedFd) -> io::Result<u16> {
    let address = SocketAddr::try_from(rustix::net::getsockname(socket)?)?;
    Ok(address.port())
}
