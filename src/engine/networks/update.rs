//! `network update`: other name servers.

use std::net::IpAddr;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::net;
use crate::store::events::Action;

impl Engine {
    /// Adds name servers to a network and takes others away, for containers that run, too.
    pub fn update_network(&self, name: &str, add: &[IpAddr], drop: &[IpAddr]) -> Result<()> {
        let locked = self.store.networks().lock()?;
        let mut network = self.store.networks().lookup(name)?;
        if network.is_default() || !network.spec.dns {
            let text =
                format!("network {} has no names: it cannot have name servers", network.name);
            return Err(Error::new(Kind::Invalid, text));
        }
        let servers = &mut network.spec.servers;
        if let Some(missing) = drop.iter().find(|it| !servers.contains(it)) {
            let text = format!("{missing} is no name server of network {}", network.name);
            return Err(Error::new(Kind::Invalid, text));
        }
        servers.retain(|it| !drop.contains(it));
        for server in add {
            if !servers.contains(server) {
                servers.push(*server);
            }
        }
        locked.save(&network)?;
        net::set_servers(&self.store, &network.name, &network.spec.servers)?;
        self.record_network(&network, Action::Update);
        Ok(())
    }
}
