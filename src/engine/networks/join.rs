//! Which networks a container is on is settled when it is created.

use std::net::IpAddr;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::spec::membership::{DEFAULT_NETWORK, Membership};
use crate::spec::network::NetworkMode;
use crate::store::container::ContainerConfig;
use crate::store::network::{HeldNetworks, Network};

impl Engine {
    /// Finds the networks that a container asks for, and gives them their names. Those that users have
    /// made stay until it is on record.
    pub(in crate::engine) fn settle_networks(
        &self,
        config: &mut ContainerConfig,
    ) -> Result<Option<HeldNetworks>> {
        let NetworkMode::Networks(members) = &mut config.settings.network else { return Ok(None) };
        let is_plain = |it: &Membership| *it == Membership::of(DEFAULT_NETWORK);
        if members.iter().all(is_plain) && members.len() == 1 {
            return Ok(None);
        }
        let held = self.store.networks().hold()?;
        for member in &mut *members {
            let network = self.store.networks().lookup(&member.network)?;
            check_member(member, &network)?;
            self.settle_links(member, &network)?;
            member.network = network.name;
        }
        for (index, member) in members.iter().enumerate() {
            if members[..index].iter().any(|other| other.network == member.network) {
                let text = format!("network {} is given twice", member.network);
                return Err(Error::new(Kind::Invalid, text));
            }
        }
        Ok(Some(held))
    }

    /// Gives the containers that another one has names for their own. Where the network has names, they may
    /// still be to come.
    pub(super) fn settle_links(&self, member: &mut Membership, network: &Network) -> Result<()> {
        for link in &mut member.links {
            match self.lookup(&link.container) {
                Ok(found) => link.container = found.state.name,
                Err(error) if error.kind() == Kind::NotFound && network.spec.dns => {}
                Err(error) => return Err(error.within("cannot link to a container")),
            }
        }
        Ok(())
    }
}

/// Refuses what a network cannot give.
pub(super) fn check_member(member: &Membership, network: &Network) -> Result<()> {
    let asked = member.ipv4.map(IpAddr::V4).into_iter().chain(member.ipv6.map(IpAddr::V6));
    for address in asked {
        let is_there = network.spec.subnets.iter().any(|it| it.subnet.contains(address));
        // Those of the default network may not be chosen yet.
        if !(is_there || network.is_default() && address.is_ipv4()) {
            let text = format!(
                "requested static ip {address} not in any subnet on network {}",
                network.name
            );
            return Err(Error::new(Kind::Invalid, text));
        }
    }
    Ok(())
}
