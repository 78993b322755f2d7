//! A container's connection while it lasts: what must be kept open for it, and what is to be done.
//!
//! Whoever holds one polls [`Attached::files`] and calls [`Attached::turn`] when one of them is ready, or
//! when [`Attached::left`] is over. Nothing of that waits.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;

use super::dhcp::{Client, Event};
use super::ground::Ground;
use super::linger::Sockets;
use super::ports::Door;
use super::relay::Relay;
use super::{Connection, Endpoint, Helper, Resolver, join, publish, veth};
use crate::error::Result;
use crate::spec::id::ContainerId;
use crate::store::Store;
use crate::sys::netlink::Changes;

/// The largest datagram.
const LARGEST: usize = 64 << 10;

/// What has become of an address that somebody else on a network gives.
#[derive(Debug)]
pub struct News {
    network: String,
    event: Event,
}

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
    /// What sees to addresses that others give.
    pub(super) clients: Vec<Client>,
    /// Its namespace, where it has one with interfaces.
    pub(super) kept: Option<OwnedFd>,
    /// What tells of connections that go on when its processes are gone.
    sockets: Option<Sockets>,
    /// What tells that the firewall may have lost our table, or that firewalld has begun anew.
    changes: Option<Changes>,
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
        let (helper, resolver, relay, changes) = (None, None, None, None);
        let (clients, kept, sockets) = (Vec::new(), None, None);
        Self {
            endpoint,
            helper,
            warnings,
            store,
            held,
            resolver,
            relay,
            clients,
            kept,
            sockets,
            changes,
            ground,
        }
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
            let mut relay = Relay::start(doors, from.or(self.ground.netns()))?;
            relay.lead_to(&self.endpoint);
            self.relay = Some(relay);
        }
        if self.endpoint.is_behind_us() {
            self.changes = self.ground.changes();
        }
        Ok(())
    }

    /// Returns what is waited for.
    pub fn files(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let names = self.resolver.iter().flat_map(Resolver::files);
        let own = self.relay.iter().map(Relay::file).chain(self.ground.connection());
        let own = own.chain(self.changes.iter().map(AsFd::as_fd));
        let own = own.chain(self.clients.iter().filter_map(Client::file));
        names.chain(own.map(|file| (file, PollFlags::IN)))
    }

    /// Returns how long it can wait.
    pub fn left(&self) -> Option<Duration> {
        let names = self.resolver.as_ref().and_then(Resolver::left);
        let others = self.relay.as_ref().and_then(Relay::left);
        names.into_iter().chain(others).chain(self.clients.iter().map(Client::left)).min()
    }

    /// Returns the networks on which somebody else is yet to give an address.
    pub fn asks_on(&self) -> impl Iterator<Item = &str> {
        let asking = self.endpoint.connections.iter().filter(|it| it.is_asking());
        asking.map(|connection| connection.network.as_str())
    }

    /// Does what is to be done now. `buffer` is for datagrams. Returns what has become of addresses that
    /// others give, for [`Attached::settle`].
    pub fn turn(&mut self, buffer: &mut Vec<u8>) -> Vec<News> {
        // It has that size in the monitor; all datagrams fit.
        buffer.resize(buffer.len().max(LARGEST), 0);
        if let Some(resolver) = &mut self.resolver {
            resolver.turn(buffer);
        }
        if let Some(relay) = &mut self.relay {
            relay.turn(buffer);
        }
        self.ground.look_after(&self.store);
        if self.changes.as_ref().is_some_and(Changes::take) {
            // What fails now is tried again by the next removal or start.
            drop(publish::repair(&self.store, &self.ground));
        }
        let turn = |client: &mut Client| {
            client.turn(buffer).map(|event| News { network: client.network.clone(), event })
        };
        self.clients.iter_mut().filter_map(turn).collect()
    }

    /// Does what has become of addresses that others give. Returns how it was connected before, if the
    /// container has other addresses now. The caller holds the container's lock, if it is on record.
    pub fn settle(&mut self, id: &ContainerId, all: Vec<News>) -> Option<Endpoint> {
        let before = self.endpoint.clone();
        for news in all {
            // The container has what it has until the server is asked again.
            drop(self.take(id, &news));
        }
        let has_changed = !before.addresses().eq(self.endpoint.addresses());
        has_changed.then_some(before)
    }

    /// Does what has become of an address that others give.
    fn take(&mut self, id: &ContainerId, News { network, event }: &News) -> Result<()> {
        let Some(client) = self.clients.iter().find(|it| it.network == *network) else {
            return Ok(());
        };
        // A command may have changed it meanwhile.
        let recorded = self.store.endpoint::<Endpoint>(id)?;
        let mut endpoint = recorded.unwrap_or_else(|| self.endpoint.clone());
        let is_its = |it: &&mut Connection| it.network == client.network;
        let Some(connection) = endpoint.connections.iter_mut().find(is_its) else { return Ok(()) };
        let before = connection.clone();
        match event {
            Event::Granted(terms) => {
                client.record(terms, connection);
                if !before.servers.is_empty() {
                    connection.servers.clone_from(&before.servers);
                }
            }
            Event::Lost => connection.addresses.clear(),
        }
        if connection.addresses == before.addresses {
            return Ok(());
        }
        let connection = connection.clone();
        veth::strip(client.netns(), &before)?;
        before
            .names
            .iter()
            .try_for_each(|it| self.store.network(&before.network).withdraw(it, id))?;
        if let Event::Granted(_) = event {
            veth::set_up(client.netns(), &connection)?;
            join::announce(&self.store, id, &connection)?;
        }
        veth::lead_out(client.netns(), &self.endpoint, &endpoint)?;
        self.store.save_endpoint(id, &endpoint)?;
        self.endpoint = endpoint;
        Ok(())
    }

    /// Looks into the namespace by its first process, to see in [`Self::give_up`] what goes on in it.
    pub fn look_into(&mut self, pid: i32) {
        if self.kept.is_some() {
            // Without it, interfaces go when the kernel gives up.
            self.sockets = Sockets::of(pid).ok();
        }
    }

    /// As [`Self::look_into`], by the namespace itself: its first process may not be in it yet.
    pub fn look_into_namespace(&mut self, netns: BorrowedFd<'_>) {
        if self.kept.is_some() {
            self.sockets = Sockets::in_namespace(netns).ok();
        }
    }

    /// Gives back what others on a network have given, and takes interfaces away that the kernel would
    /// keep. For the end, when the container's processes are gone.
    pub fn give_up(&mut self, id: &ContainerId) {
        self.clients.drain(..).for_each(Client::release);
        let Some(netns) = self.kept.take() else { return };
        self.unplug(id, netns.as_fd());
        // It has sockets in there.
        self.resolver = None;
        let Some(sockets) = self.sockets.take() else { return };
        if !sockets.are_there().unwrap_or_default() {
            return;
        }
        for connection in &self.endpoint.connections {
            // What is not taken away now goes when the kernel gives up.
            drop(veth::take_away(&self.ground, id, connection, netns.as_fd()));
        }
    }

    /// Has plugins disconnect the container.
    fn unplug(&self, id: &ContainerId, netns: BorrowedFd<'_>) {
        if !self.endpoint.connections.iter().any(|it| it.attachment.is_some()) {
            return;
        }
        let Ok(Some(mut endpoint)) = self.store.endpoint::<Endpoint>(id) else { return };
        for connection in &mut endpoint.connections {
            let Some(attachment) = connection.attachment.take() else { continue };
            if attachment.remove(id, connection, Some(netns)).is_err() {
                // It is tried again without the namespace.
                connection.attachment = Some(attachment);
            }
        }
        // Otherwise plugins are told a second time, which is fine.
        drop(self.store.save_endpoint(id, &endpoint));
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
        let connections = &self.endpoint.connections;
        if self.kept.is_none() && connections.iter().any(|it| it.attachment.is_some()) {
            self.kept = netns.try_clone_to_owned().ok();
        }
        self.clients.retain(|client| connections.iter().any(|it| it.network == client.network));
        for connection in connections {
            if !self.clients.iter().any(|client| client.network == connection.network) {
                // Who waits for its address says that there is none.
                self.clients.extend(Client::of(connection, netns).ok().flatten());
            }
        }
        if let Some(relay) = &mut self.relay {
            relay.lead_to(&self.endpoint);
        }
        if !self.endpoint.resolver || self.resolver.is_some() {
            return Ok(false);
        }
        self.resolver = Some(Resolver::start(&self.store, id, servers, netns)?);
        Ok(true)
    }
}
