//! The network of a container that is started: its own, or one that is there already.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use super::files::{copy_names, write_names};
use super::kept::{self, Kept};
use crate::engine::Engine;
use crate::engine::bundle::{self, Facts};
use crate::error::{Context, Error, Kind, Result};
use crate::net::{self, Attached, PublishedPort};
use crate::runtime::Starting;
use crate::spec::id::ContainerId;
use crate::spec::namespace::{Existing, NamespaceKind};
use crate::spec::network::{NetworkMode, PortMapping};
use crate::store::container::ContainerConfig;

/// The container's network before its process exists.
pub(super) enum Network {
    /// Made by us once there is a namespace; or in one that it has had before.
    Own(Box<net::Prepared>, Option<Kept>),
    /// One that is there already: the host's (none to join), or another container's.
    Existing(Vec<(OwnedFd, i32)>),
}

impl Network {
    pub(super) fn prepare(
        engine: &Engine,
        config: &ContainerConfig,
        facts: &Facts,
        last: &[PublishedPort],
        kept: Option<Kept>,
    ) -> Result<Self> {
        let settings = &config.settings;
        let containers = engine.store.containers();
        let (network, endpoint) = match &settings.network {
            NetworkMode::Host => (Self::Existing(Vec::new()), host_endpoint()),
            NetworkMode::Ns(path) => {
                (Self::existing(engine, Existing::Path(path))?, host_endpoint())
            }
            NetworkMode::Container(other) => {
                let network = Self::existing(engine, Existing::Container(other))?;
                copy_names(engine, config, &containers.run_dir(&other.parse()?), facts)?;
                return Ok(network);
            }
            NetworkMode::Default
            | NetworkMode::None
            | NetworkMode::Networks(_)
            | NetworkMode::Pasta(_)
            | NetworkMode::Slirp4netns(_) => {
                let mode = match &settings.network {
                    NetworkMode::Default => net::default_mode(engine.host.rootless),
                    other => other.clone(),
                };
                let request = |ports| net::Request {
                    id: &config.id,
                    name: &facts.name,
                    hostname: config.hostname(),
                    mode: &mode,
                    ports,
                    names: &settings.names,
                    rootless: engine.host.rootless,
                };
                let prepare = |ports| net::prepare(&engine.store, &request(ports));
                let ports = with_last_ports(&settings.ports, last);
                let prepared = match prepare(&ports) {
                    // Somebody else may have one of them by now.
                    Err(error) if error.kind() == Kind::Conflict && ports != settings.ports => {
                        prepare(&settings.ports)?
                    }
                    prepared => prepared?,
                };
                let endpoint = prepared.endpoint().clone();
                (Self::Own(Box::new(prepared), kept), endpoint)
            }
        };
        if let Err(error) = write_names(engine, config, facts, &endpoint) {
            network.undo(engine, config);
            return Err(error);
        }
        Ok(network)
    }

    fn existing(engine: &Engine, existing: Existing<'_>) -> Result<Self> {
        let namespace = engine.existing_namespace(NamespaceKind::Network, existing)?;
        Ok(Self::Existing(vec![namespace]))
    }

    pub(super) fn joined(&self) -> &[(OwnedFd, i32)] {
        match self {
            Self::Existing(namespaces) => namespaces,
            Self::Own(_, Some(kept)) => std::slice::from_ref(&kept.namespace),
            Self::Own(_, None) => &[],
        }
    }

    pub(super) fn attach(
        self,
        engine: &Engine,
        config: &ContainerConfig,
        starting: Option<&Starting>,
    ) -> Result<Option<Attached>> {
        match self {
            Self::Existing(_) => Ok(None),
            Self::Own(prepared, kept) => {
                let before = prepared.endpoint().clone();
                let attached = match (&kept, starting) {
                    (None, Some(starting)) => {
                        let namespace = starting.network_namespace()?;
                        let mut attached =
                            net::attach(&engine.store, *prepared, namespace.as_fd())?;
                        attached.look_into(starting.pid());
                        attached
                    }
                    (None, None) => {
                        let text = "there is no namespace for the network";
                        return Err(Error::new(Kind::Internal, text));
                    }
                    (Some(kept), _) => {
                        let namespace = kept.namespace.0.as_fd();
                        let attached = net::clear(&prepared, namespace)
                            .and_then(|()| net::attach(&engine.store, *prepared, namespace));
                        let mut attached = attached.map_err(|error| kept.explain(error))?;
                        attached.look_into_namespace(namespace);
                        attached
                    }
                };
                // Some networks have others give the addresses.
                if let Err(error) = change_hosts(engine, config, &before, &attached.endpoint) {
                    end_network(engine, &config.id, Some(attached));
                    return Err(error);
                }
                if let Some(kept) = &kept {
                    kept.tell_names(engine, &config.id);
                }
                Ok(Some(attached))
            }
        }
    }

    pub(super) fn undo(self, engine: &Engine, config: &ContainerConfig) {
        if let Self::Own(prepared, _) = self {
            drop(prepared);
            // The next repair frees what is left.
            drop(net::detach(&engine.store, &config.id));
        }
    }
}

/// Gives mappings that leave the port of this machine to us the one that they had last.
fn with_last_ports(mappings: &[PortMapping], last: &[PublishedPort]) -> Vec<PortMapping> {
    let mut left = last.to_vec();
    let mut with_last = |mapping: &PortMapping| -> Vec<PortMapping> {
        let single = |offset| -> Option<PortMapping> {
            let container_port = mapping.container_port.checked_add(offset)?;
            let is_choice = |port: u16| {
                let chosen = mapping.host_port.and_then(|first| port.checked_sub(first));
                mapping.host_port.is_none() || chosen.is_some_and(|it| it < mapping.choices)
            };
            let position = left.iter().position(|it| {
                is_choice(it.host_port)
                    && it.container_port == container_port
                    && it.protocol == mapping.protocol
                    && mapping.host_ip.is_none_or(|address| address == it.host_ip)
            })?;
            let host_port = Some(left.remove(position).host_port);
            let one = PortMapping { host_port, container_port, ..mapping.clone() };
            Some(PortMapping { count: 1, choices: 1, ..one })
        };
        let known = mapping.leaves_choice().then(|| (0..mapping.count).map(single).collect());
        known.flatten().unwrap_or_else(|| vec![mapping.clone()])
    };
    mappings.iter().flat_map(&mut with_last).collect()
}

/// What a container on the host's own network sees of it.
fn host_endpoint() -> net::Endpoint {
    net::Endpoint::plain(&NetworkMode::Host)
}

/// Takes over other networks of a container that runs.
pub(super) fn follow_networks(
    engine: &Engine,
    config: &ContainerConfig,
    network: &mut Attached,
    pid: i32,
) -> Result<()> {
    let path = format!("/proc/{pid}/ns/net");
    let netns = fs::File::open(&path).context(|| format!("cannot open {path}"))?;
    let names = &config.settings.names;
    let before = network.endpoint.clone();
    let answers = network.look_again(&config.id, &names.servers, netns.as_fd())?;
    change_hosts(engine, config, &before, &network.endpoint)?;
    if !answers {
        return Ok(());
    }
    // It was not on a network with names before: it learns whom to ask, unless it has been told.
    let run_dir = engine.store.containers().run_dir(&config.id);
    let path = bundle::own_file(&run_dir, "resolv.conf");
    let host = net::host_resolv_conf(&before)?;
    let context = || format!("cannot change {}", path.display());
    let text = fs::read_to_string(&path).context(context)?;
    if text == net::resolv_conf(&host, names, &before) {
        let changed = net::resolv_conf(&host, names, &network.endpoint);
        fs::write(&path, &changed).context(context)?;
        kept::tell_guests(engine, &config.id, "resolv.conf", &text, &changed);
    }
    Ok(())
}

/// Tells a container its addresses, which are others than they were.
pub(super) fn change_hosts(
    engine: &Engine,
    config: &ContainerConfig,
    before: &net::Endpoint,
    now: &net::Endpoint,
) -> Result<()> {
    if before.addresses().eq(now.addresses()) && before.linked().eq(now.linked()) {
        return Ok(());
    }
    let path = bundle::own_file(&engine.store.containers().run_dir(&config.id), "hosts");
    let context = || format!("cannot change {}", path.display());
    let text = fs::read_to_string(&path).context(context)?;
    let state = engine.store.containers().get(&config.id)?;
    let name = state.map(|container| container.state.name).unwrap_or_default();
    let hostname = engine.shown_hostname(config)?;
    let changed = net::changed_hosts(&text, before, now, &hostname, &name);
    if changed != text {
        fs::write(&path, &changed).context(context)?;
        kept::tell_guests(engine, &config.id, "hosts", &text, &changed);
    }
    Ok(())
}

pub(super) fn end_network(engine: &Engine, id: &ContainerId, network: Option<Attached>) {
    if let Some(mut network) = network {
        if let Some(helper) = network.helper.take() {
            // Its complaints were of interest while the container ran.
            drop(helper.end());
        }
        network.give_up(id);
        // The next repair frees what is left.
        drop(net::detach(&engine.store, id));
    }
}
