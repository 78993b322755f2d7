//! Published ports that no firewall can lead to the container: what arrives is passed on by the monitor.
//!
//! Without root the machine's own firewall is out of reach, and a container without IPv6 has no address
//! that a port of IPv6 could be led to. The container sees connections that come from its gateway; or,
//! where bridges are in a namespace of ours, from those who have come: there we may use their addresses,
//! and rules of the firewall and of routes lead the answers back ([`super::firewall`]).
//!
//! Nothing here waits. The monitor polls one descriptor for all of them and calls [`Relay::turn`], which
//! does a bounded amount of work.

mod datagrams;
mod stream;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::net::{SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::datagrams::Talk;
use self::stream::{Side, Stream};
use super::Endpoint;
use super::ports::Door;
use crate::error::{Context, Result};
use crate::spec::cidr::Cidr;
use crate::spec::network::Protocol;
use crate::sys::{netns, socket};

/// How many events are looked at in one turn.
const EVENTS: usize = 64;
/// How many connections are let in at once.
const ARRIVALS: usize = 16;
/// How often datagrams that nobody answers any more are forgotten.
const SWEEP: Duration = Duration::from_secs(30);
/// How long nobody is let in when there is no room.
const PAUSE: Duration = Duration::from_secs(1);
/// Descriptors that one connection takes.
const FILES: u64 = 6;
/// Descriptors that the rest of the process needs.
const OTHER_FILES: u64 = 256;
/// More connections than that are too many, whatever the limits say.
const MOST: u64 = 8192;

/// The mark of events that are not a door's.
const IS_FLOW: u64 = 1 << 63;

/// Passes on what arrives at published ports.
#[derive(Debug)]
pub(super) struct Relay {
    events: OwnedFd,
    doors: Vec<Door>,
    /// Where connections to the container are made; `None` is here.
    netns: Option<OwnedFd>,
    /// The container, if it has an address.
    target: Option<IpAddr>,
    /// Whether it is to see who has come, unless from one of these networks.
    shows: Option<Vec<Cidr>>,
    streams: HashMap<u64, Stream>,
    talks: HashMap<u64, Talk>,
    /// Which talk is that of one who has come to a door.
    known: HashMap<(usize, SocketAddr), u64>,
    next: u64,
    /// How many of both there may be.
    most: usize,
    /// When talks are looked at that may be over.
    sweep: Option<Instant>,
    /// While nobody is let in: until when.
    closed: Option<Instant>,
}

impl Relay {
    /// Begins to let in.
    pub(super) fn start(doors: Vec<Door>, netns: Option<BorrowedFd<'_>>) -> Result<Self> {
        let context = || "cannot pass on what arrives at published ports";
        let events = epoll::create(epoll::CreateFlags::CLOEXEC).context(context)?;
        let netns = netns.map(|it| it.try_clone_to_owned()).transpose().context(context)?;
        let most = room().max(FILES) / FILES;
        let mut relay = Self {
            events,
            doors,
            netns,
            target: None,
            shows: None,
            streams: HashMap::new(),
            talks: HashMap::new(),
            known: HashMap::new(),
            next: 0,
            most: usize::try_from(most.min(MOST)).unwrap_or(usize::MAX),
            sweep: None,
            closed: None,
        };
        relay.open_doors().context(context)?;
        Ok(relay)
    }

    /// Passes on to a container that is connected like this from now on.
    pub(super) fn lead_to(&mut self, endpoint: &Endpoint) {
        self.target = endpoint.relay_address();
        let networks = endpoint.connections.iter().flat_map(|it| it.addresses.clone());
        self.shows = endpoint.sees_visitors().then(|| networks.collect());
    }

    /// Returns what is waited for.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Returns how long it can wait.
    pub(super) fn left(&self) -> Option<Duration> {
        let next = self.sweep.into_iter().chain(self.closed).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Does what can be done. `buffer` is for datagrams, all of which fit.
    pub(super) fn turn(&mut self, buffer: &mut [u8]) {
        let mut events = Vec::with_capacity(EVENTS);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let room = rustix::buffer::spare_capacity(&mut events);
        // It can fail by an interruption only; then it is tried again.
        if epoll::wait(&self.events, room, Some(&now)).is_err() {
            return;
        }
        for event in &events {
            let (token, flags) = (event.data.u64(), event.flags);
            if token & IS_FLOW == 0 {
                self.let_in(token, buffer);
            } else {
                self.go_on(token, flags, buffer);
            }
        }
        let now = Instant::now();
        if self.sweep.is_some_and(|at| at <= now) {
            self.talks.retain(|_, talk| talk.until() > now);
            self.known.retain(|_, number| self.talks.contains_key(number));
            self.sweep = (!self.talks.is_empty()).then(|| now + SWEEP);
        }
        if self.closed.is_some_and(|until| until <= now) {
            self.closed = Some(now + PAUSE);
            if !self.is_full() {
                // What fails is tried again.
                drop(self.open_doors());
            }
        }
    }

    fn is_full(&self) -> bool {
        self.streams.len() + self.talks.len() >= self.most
    }

    fn open_doors(&mut self) -> io::Result<()> {
        for (index, door) in (0..).zip(&self.doors) {
            let added = epoll::add(
                &self.events,
                &door.socket,
                epoll::EventData::new_u64(index),
                epoll::EventFlags::IN,
            );
            match added {
                Err(rustix::io::Errno::EXIST) => {}
                other => other?,
            }
        }
        self.closed = None;
        Ok(())
    }

    /// Lets nobody in for a while: they wait before the door.
    fn close_doors(&mut self) {
        for door in &self.doors {
            // One that is closed already stays so.
            let _closed = epoll::delete(&self.events, &door.socket);
        }
        self.closed = Some(Instant::now() + PAUSE);
    }

    fn let_in(&mut self, token: u64, buffer: &mut [u8]) {
        let index = usize::try_from(token).unwrap_or(usize::MAX);
        let Some(door) = self.doors.get(index) else { return };
        match door.protocol {
            Protocol::Tcp => self.let_streams_in(index),
            Protocol::Udp => self.let_datagrams_in(index, buffer),
            // Nobody makes such a door.
            Protocol::Sctp => {}
        }
    }

    fn let_streams_in(&mut self, index: usize) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..ARRIVALS {
            if self.is_full() {
                return self.close_doors();
            }
            let door = &self.doors[index];
            let (client, from) = match rustix::net::acceptfrom_with(&door.socket, flags) {
                Ok(accepted) => accepted,
                Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                    return self.close_doors();
                }
                Err(_) => return,
            };
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            let made = self.connect(door.port, SocketType::STREAM, from).and_then(|server| {
                let mut stream = Stream::new(client, server)?;
                stream.wait(&self.events, IS_FLOW | self.next << 1)?;
                Ok(stream)
            });
            // One that cannot be passed on is hung up on.
            if let Ok(stream) = made {
                self.streams.insert(self.next, stream);
                self.next += 1;
            }
        }
    }

    fn let_datagrams_in(&mut self, index: usize, buffer: &mut [u8]) {
        for _ in 0..EVENTS {
            let door = &self.doors[index];
            let Some((length, client)) = datagrams::receive_from(&door.socket, buffer) else {
                return;
            };
            let known = self.known.get(&(index, client));
            if let Some(talk) = known.and_then(|number| self.talks.get_mut(number)) {
                talk.send(&buffer[..length]);
                continue;
            }
            if self.is_full() {
                continue;
            }
            let made =
                self.connect(door.port, SocketType::DGRAM, Some(client)).and_then(|server| {
                    let data = epoll::EventData::new_u64(IS_FLOW | self.next << 1);
                    epoll::add(&self.events, &server, data, epoll::EventFlags::IN)?;
                    Ok(Talk::new(index, client, server))
                });
            // One that cannot be passed on is lost, as datagrams may be.
            if let Ok(mut talk) = made {
                talk.send(&buffer[..length]);
                self.talks.insert(self.next, talk);
                self.known.insert((index, client), self.next);
                self.next += 1;
                self.sweep = self.sweep.or_else(|| Some(Instant::now() + SWEEP));
            }
        }
    }

    fn go_on(&mut self, token: u64, flags: epoll::EventFlags, buffer: &mut [u8]) {
        let number = (token & !IS_FLOW) >> 1;
        if let Some(talk) = self.talks.get_mut(&number) {
            return talk.answer(&self.doors[talk.door()].socket, buffer);
        }
        // One that is not there has ended in this turn.
        let Some(stream) = self.streams.get_mut(&number) else { return };
        let side = if token & 1 == 0 { Side::Client } else { Side::Server };
        let moved = stream.step(side, flags);
        if !moved || stream.wait(&self.events, IS_FLOW | number << 1).is_err() {
            self.streams.remove(&number);
        }
    }

    /// Makes a socket that is being connected to the container, for who has come `from` there, and never
    /// blocks.
    fn connect(
        &self,
        port: u16,
        kind: SocketType,
        from: Option<SocketAddr>,
    ) -> io::Result<OwnedFd> {
        let target = self.target.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let family = match target {
            IpAddr::V4(_) => rustix::net::AddressFamily::INET,
            IpAddr::V6(_) => rustix::net::AddressFamily::INET6,
        };
        let socket = match &self.netns {
            Some(netns) => {
                let kind = kind.as_raw().cast_signed() | libc::SOCK_NONBLOCK;
                netns::socket_in(netns.as_fd(), i32::from(family.as_raw()), kind, 0)?
            }
            None => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                rustix::net::socket_with(family, kind, flags, None)?
            }
        };
        if let Some(source) = from.and_then(|from| self.shown(from.ip())) {
            socket::set_transparent(socket.as_fd())?;
            rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
        }
        match rustix::net::connect(&socket, &SocketAddr::new(target, port)) {
            Err(error) if error != rustix::io::Errno::INPROGRESS => Err(error.into()),
            _ => Ok(socket),
        }
    }
}

impl Relay {
    /// Returns the address under which one who has come is shown to the container, if they are.
    fn shown(&self, visitor: IpAddr) -> Option<IpAddr> {
        let networks = self.shows.as_ref()?;
        let visitor = visitor.to_canonical();
        let good = visitor.is_ipv4() && !visitor.is_loopback() && !visitor.is_unspecified();
        // To its neighbors it would answer directly.
        let is_near = networks.iter().any(|network| network.contains(visitor));
        (good && !is_near).then_some(visitor)
    }
}

/// Takes all descriptors that this process may have; returns how many there are for connections.
fn room() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let all = if raised.is_ok() { maximum } else { current };
    all.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES)
}
