//! A container's connection while it lasts: what must be kept open for it, and what is to be done.
//!
//! Whoever holds one polls [`Attached::files`] and calls [`Attached::turn`] when one of them is ready, or
//! when [`Attached::left`] is over. Nothing of that waits.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;

use super::ground::Ground;
use super::ports::Door;
use super::relay::Relay;
use super::{Endpoint, Helper, Resolver, publish};
use crate::error::Result;
use crate::spec::id::ContainerId;
use crate::store::Store;
use crate::sys::netlink::Changes;

/// The largest datagram.
const LARGEST: usize = 64 << 10;

/// A container's connection.
#[derive(Debug)]
pub struct Attached {
    /// How it is connected.
    pub endpoint: Endpoint,
    /// A program that the connection lasts as long as. To be killed when the container is done; it
    /// dies with this process.
    pub helper: Option<Helper>,
    /// What the user should know.
    pub warnings: Vec<String>,
    store: Store,
    /// Sockets that keep the published ports from others; for as long as the container may run.
    pub held: Vec<OwnedFd>,
    /// What answers the container's questions for names, on networks that users have made.
    resolver: Option<Resolver>,
    /// What passes on what arrives at published ports.
    relay: Option<Relay>,
    /// What tells that the firewall may have lost our table.
    removals: Option<Changes>,
    /// Where its bridges are, which last as long as this.
    pub(super) ground: Ground,
}

impl Attached {
    pub(super) fn new(
        store: &Store,
        endpoint: Endpoint,
        held: Vec<OwnedFd>,
        ground: Ground,
        warnings: Vec<String>,
    ) -> Self {
        let store = store.clone();
        let (helper, resolver, relay, removals) = (None, None, None, None);
        Self { endpoint, helper, warnings, store, held, resolver, relay, removals, ground }
    }

    /// Begins to answer for names, to pass on what arrives, and to look after the firewall. What arrives is
    /// passed on from the namespace `from`, or from where the bridges are.
    pub(super) fn listen(
        &mut self,
        id: &ContainerId,
        servers: &[IpAddr],
        doors: Vec<Door>,
        netns: BorrowedFd<'_>,
        from: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        if self.endpoint.resolver {
            self.resolver = Some(Resolver::start(&self.store, id, servers, netns)?);
        }
        if !doors.is_empty() {
            let target = self.endpoint.relay_address();
            self.relay = Some(Relay::start(doors, from.or(self.ground.netns()), target)?);
        }
        if self.endpoint.is_behind_us() {
            self.removals = self.ground.removals();
        }
        Ok(())
    }

    /// Returns what is waited for.
    pub fn files(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let names = self.resolver.iter().flat_map(Resolver::files);
        let own = self.relay.iter().map(Relay::file).chain(self.ground.connection());
        let own = own.chain(self.removals.iter().map(AsFd::as_fd));
        names.chain(own.map(|file| (file, PollFlags::IN)))
    }

    /// Returns how long it can wait.
    pub fn left(&self) -> Option<Duration> {
        let names = self.resolver.as_ref().and_then(Resolver::left);
        names.into_iter().chain(self.relay.as_ref().and_then(Relay::left)).min()
    }

    /// Does what is to be done now. `buffer` is for datagrams.
    pub fn turn(&mut self, buffer: &mut Vec<u8>) {
        // It has that size in the monitor; all datagrams fit.
        buffer.resize(buffer.len().max(LARGEST), 0);
        if let Some(resolver) = &mut self.resolver {
            resolver.turn(buffer);
        }
        if let Some(relay) = &mut self.relay {
            relay.turn(buffer);
        }
        self.ground.look_after(&self.store);
        if self.removals.as_ref().is_some_and(Changes::take) {
            // What fails now is tried again by the next removal or start.
            drop(publish::repair(&self.store, &self.ground));
        }
    }

    /// Takes over what was changed of a connection since; `true` if questions for names are answered
    /// from now on.
    pub fn look_again(
        &mut self,
        id: &ContainerId,
        servers: &[IpAddr],
        netns: BorrowedFd<'_>,
    ) -> Result<bool> {
        let Some(endpoint) = self.store.endpoint::<Endpoint>(id)? else { return Ok(false) };
        self.endpoint = endpoint;
        if let Some(relay) = &mut self.relay {
            relay.lead_to(self.endpoint.relay_address());
        }
        if !self.endpoint.resolver || self.resolver.is_some() {
            return Ok(false);
        }
        self.resolver = Some(Resolver::start(&self.store, id, servers, netns)?);
        Ok(true)
    }
}
