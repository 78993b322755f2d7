//! `network create`: a network with a name, or with one that is made up.

use crate::engine::create::{random, random_id};
use crate::engine::{Engine, now};
use crate::error::{Error, Kind, Result};
use crate::net;
use crate::spec::membership::{DEFAULT_ALIAS, DEFAULT_NETWORK, parse_interface};
use crate::spec::name;
use crate::spec::network_spec::NetworkSpec;
use crate::store::defaults;
use crate::store::events::{Action, Event, Object};
use crate::store::network::Network;

/// A network that is to be made.
#[derive(Clone, Debug, Default)]
pub struct NewNetwork {
    /// Its name; one is made up if there is none.
    pub name: Option<String>,
    /// The interface of this machine that it is; one is made up if there is none.
    pub interface: Option<String>,
    /// Whether it may be there already.
    pub ignore: bool,
    /// What is asked for.
    pub spec: NetworkSpec,
}

/// Words that mean something else where a network is named.
const RESERVED: [&str; 8] =
    ["container", "default", "host", "none", "ns", "pasta", "private", "slirp4netns"];

impl Engine {
    /// Makes a network; returns its name.
    pub fn create_network(&self, new: NewNetwork) -> Result<String> {
        let locked = self.store.networks().lock()?;
        let all = self.store.networks().list()?;
        let is_taken = |name: &str| all.iter().any(|network| network.name == name);
        let name = match new.name {
            Some(name) => name::parse(&name)?,
            None => (1..)
                .map(|it: u32| format!("podman{it}"))
                .find(|it| !is_taken(it))
                .unwrap_or_default(),
        };
        if RESERVED.contains(&&*name) {
            let text = format!(
                "cannot create network with name \"{name}\" because it conflicts with a valid network mode"
            );
            return Err(Error::new(Kind::Invalid, text));
        }
        if is_taken(&name) || matches!(&*name, DEFAULT_NETWORK | DEFAULT_ALIAS) {
            if new.ignore {
                return Ok(name);
            }
            let text = format!("network name {name} already used: network already exists");
            return Err(
                Error::new(Kind::Conflict, text).hint("pass --ignore if it may be there already")
            );
        }
        let id = random_id()?.to_string();
        let mut spec = new.spec;
        let asked = new.interface.as_deref().or_else(|| spec.interface()).map(str::to_owned);
        let unmanaged = spec.is_unmanaged();
        let interface = match asked {
            None if unmanaged => {
                let text = "a network of mode unmanaged needs the name of its bridge";
                return Err(Error::new(Kind::Invalid, text).hint("name it by --interface-name"));
            }
            Some(asked) => {
                let asked = parse_interface(&asked)?;
                // Several networks may be VLANs of a bridge that others have made.
                let is_anothers =
                    |it: &Network| it.interface == asked && !(unmanaged && it.spec.is_unmanaged());
                if all.iter().any(is_anothers) || !unmanaged && net::has_interface(&asked)? {
                    let text = format!("bridge name {asked} already in use");
                    return Err(Error::new(Kind::Conflict, text));
                }
                asked
            }
            None => net::interface_of(&id),
        };
        let subnets = |it: &Network| it.spec.subnets.iter().map(|it| it.subnet).collect::<Vec<_>>();
        let mut others: Vec<_> = all.iter().flat_map(subnets).collect();
        others.extend(net::default_subnets(&self.store)?);
        net::complete(&mut spec, &others, &defaults::read(&[])?.network, random()?)?;
        let network = Network { id, name: name.clone(), created: now(), interface, spec };
        locked.save(&network)?;
        self.record_network(&network, Action::Create);
        Ok(name)
    }

    pub(super) fn record_network(&self, network: &Network, action: Action) {
        let event = Event::new(Object::Network, action, &network.id, &network.name);
        self.record_event(event.with("type", network.spec.driver.as_str()));
    }
}
