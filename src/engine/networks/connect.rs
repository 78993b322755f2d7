//! `network connect` and `network disconnect`: other networks for a container, running or not.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Instant;

use super::join::check_member;
use crate::engine::Engine;
use crate::engine::wait::{wait_for_change, watch};
use crate::error::{Context, Error, Kind, Result};
use crate::net::{self, Connection, Endpoint};
use crate::spec::id::ContainerId;
use crate::spec::membership::{DEFAULT_NETWORK, Membership};
use crate::spec::network::NetworkMode;
use crate::store::container::{Locked, Run};
use crate::store::events::{Action, Event, Object};
use crate::store::network::Network;
use crate::sys::process;

impl Engine {
    /// Connects a container to one more network.
    pub fn connect_network(&self, container: &str, mut member: Membership) -> Result<()> {
        let id = self.lookup(container)?.config.id;
        let locked = self.store.containers().lock(&id)?;
        let held = self.store.networks().hold()?;
        let network = self.store.networks().lookup(&member.network)?;
        check_member(&member, &network)?;
        let mut members = self.members(&locked)?;
        if members.iter().any(|other| other.network == network.name) {
            let text = format!(
                "container {id} is already connected to network \"{}\": network is already connected",
                network.name
            );
            return Err(Error::new(Kind::Conflict, text));
        }
        self.settle_links(&mut member, &network)?;
        member.network.clone_from(&network.name);
        let endpoint = match locked.state().process().cloned() {
            Some(run) => {
                let netns = namespace(&run)?;
                let config = locked.config();
                let request = net::Request {
                    id: &id,
                    name: &locked.state().name,
                    hostname: config.hostname(),
                    mode: &config.settings.network,
                    ports: &config.settings.ports,
                    names: &config.settings.names,
                    rootless: self.host.rootless,
                };
                let endpoint = net::connect(&self.store, &request, &member, netns.as_fd())
                    .context(|| format!("cannot connect container {container}"))?;
                self.free_if_ended(&locked, &run)?;
                Some(endpoint)
            }
            None => None,
        };
        members.push(member);
        let run = locked.state().process().cloned();
        let asks = endpoint
            .as_ref()
            .and_then(|it| it.on(&network.name))
            .is_some_and(Connection::is_asking);
        self.record_change(locked, members, endpoint, &network, Action::Connect)?;
        let Some(run) = run.filter(|_| asks) else { return Ok(()) };
        // Whoever gives addresses may take long, and nobody waits for that with the container.
        drop(held);
        self.await_address(&id, &run, &network.name).inspect_err(|_| {
            // It may be gone, or no longer on the network.
            drop(self.disconnect_network(id.as_str(), &network.name, true));
        })
    }

    /// Waits until the monitor of a container has an address for it that others give.
    fn await_address(&self, id: &ContainerId, run: &Run, network: &str) -> Result<()> {
        let meanwhile = |what: &str| Error::new(Kind::Conflict, format!("{what} meanwhile"));
        let end = Instant::now() + net::PATIENCE;
        let changes = watch(self, id)?.ok_or_else(|| meanwhile("the container was removed"))?;
        loop {
            let container = self.repaired(id)?;
            let is_it = |it: &Run| (it.pid, it.start_time) == (run.pid, run.start_time);
            if !container.state.process().is_some_and(is_it) {
                return Err(meanwhile("the container has ended"));
            }
            let endpoint = self.store.endpoint::<Endpoint>(id)?.unwrap_or_default();
            match endpoint.on(network) {
                Some(connection) if connection.is_asking() => {}
                Some(_) => return Ok(()),
                None => return Err(meanwhile("it was disconnected")),
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(net::nobody_gives(network));
            }
            wait_for_change(&changes, left)?;
        }
    }

    /// Disconnects a container from a network. With `force`, one that is not there is fine.
    pub fn disconnect_network(&self, container: &str, network: &str, force: bool) -> Result<()> {
        let id = match self.lookup(container) {
            Err(error) if force && error.kind() == Kind::NotFound => return Ok(()),
            found => found?.config.id,
        };
        let locked = self.store.containers().lock(&id)?;
        let network = self.store.networks().lookup(network)?;
        let mut members = self.members(&locked)?;
        let before = members.len();
        members.retain(|member| member.network != network.name);
        if members.len() == before {
            let text = format!(
                "container {id} is not connected to network \"{}\": network is not connected",
                network.name
            );
            return Err(Error::new(Kind::Conflict, text));
        }
        let endpoint = match locked.state().process().cloned() {
            Some(run) => {
                let netns = namespace(&run)?;
                let endpoint = net::disconnect(&self.store, &id, &network.name, netns.as_fd())
                    .context(|| format!("cannot disconnect container {container}"))?;
                self.free_if_ended(&locked, &run)?;
                Some(endpoint)
            }
            None => None,
        };
        self.record_change(locked, members, endpoint, &network, Action::Disconnect)
    }

    /// Returns the networks that a container is on.
    fn members(&self, container: &Locked<'_>) -> Result<Vec<Membership>> {
        match &container.config().settings.network {
            NetworkMode::Networks(members) => Ok(members.clone()),
            NetworkMode::Default if !self.host.rootless => {
                Ok(vec![Membership::of(DEFAULT_NETWORK)])
            }
            other => Err(Error::new(
                Kind::Invalid,
                format!("\"{other}\" is not supported: invalid network mode"),
            )
            .hint("only containers on networks that have names can be connected to others")),
        }
    }

    /// Gives back what was taken for a container that has ended meanwhile: whoever ended it may not
    /// have seen that.
    fn free_if_ended(&self, container: &Locked<'_>, run: &Run) -> Result<()> {
        if matches!(process::open(run.pid, run.start_time), Ok(Some(_))) {
            return Ok(());
        }
        net::detach(&self.store, &container.config().id)?;
        Err(Error::new(Kind::Conflict, "the container has ended meanwhile"))
    }

    fn record_change(
        &self,
        mut locked: Locked<'_>,
        members: Vec<Membership>,
        endpoint: Option<Endpoint>,
        network: &Network,
        action: Action,
    ) -> Result<()> {
        let id = locked.config().id.clone();
        let run = locked.state().process().cloned();
        let endpoint = endpoint
            .map(serde_json::to_value)
            .transpose()
            .context(|| "cannot write how a container is connected")?;
        locked.change_networks(members, endpoint)?;
        drop(locked);
        let event = Event::new(Object::Network, action, &network.id, &network.name);
        self.record_event(event.with("container", id.as_str()));
        if let Some(run) = run
            && let Some(session) = self.watch(&id, &run)?
        {
            session.send_update();
        }
        Ok(())
    }

    /// Makes interfaces and firewall rules of all networks anew, as containers need them. Returns the IDs
    /// of those that were named.
    pub fn reload_networks(&self, names: &[String]) -> Result<Vec<ContainerId>> {
        let id = |name: &String| self.lookup(name).map(|it| it.config.id);
        let named = names.iter().map(id).collect::<Result<_>>()?;
        net::reload(&self.store).map(|()| named)
    }
}

/// Opens the network namespace of a container that has a process.
fn namespace(run: &Run) -> Result<File> {
    let path = format!("/proc/{}/ns/net", run.pid);
    let netns = File::open(&path).context(|| format!("cannot open {path}"))?;
    // The number may be another process's by now.
    match process::open(run.pid, run.start_time) {
        Ok(Some(_)) => Ok(netns),
        _ => Err(Error::new(Kind::Conflict, "the container has ended")),
    }
}
