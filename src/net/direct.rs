//! Networks that are those of an interface of this machine: macvlan and ipvlan, also by a VLAN of it; and
//! bridges that others have made.

use serde::{Deserialize, Serialize};

use super::bridge::Bridge;
use super::link::Links;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::network_spec::{NetworkSpec, split_vlan};

/// A VLAN of an interface, as an interface of its own that we make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vlan {
    /// The interface.
    pub(super) parent: String,
    /// The tag of the packets.
    pub(super) id: u16,
}

/// Returns the interface of this machine whose network containers are on: that which was asked for, or
/// the way out; and what it is made of, if it has to be made.
pub(super) fn parent(links: &mut Links, spec: &NetworkSpec) -> Result<(String, Option<Vlan>)> {
    if let Some(name) = spec.parent() {
        let is_there = super::bridge::find(links, name)?.is_some();
        let vlan = split_vlan(name).filter(|_| !is_there);
        let vlan = vlan.map(|(parent, id)| Vlan { parent: parent.to_owned(), id });
        return Ok((name.to_owned(), vlan));
    }
    let uplink = links.uplink().and_then(|uplink| match uplink {
        Some(uplink) => links.by_index(uplink.index),
        None => Ok(None),
    });
    let link = uplink.context(|| "cannot look up the default route")?;
    link.map(|link| (link.name, None)).ok_or_else(|| {
        Error::new(Kind::Unavailable, "this machine has no way out that containers could share")
            .hint("name an interface when the network is made: -o parent=NAME")
    })
}

/// Makes sure that the interface is there, and makes it if it is a VLAN.
pub(super) fn make(links: &mut Links, bridge: &Bridge) -> Result<()> {
    let name = &bridge.interface;
    if super::bridge::find(links, name)?.is_some() {
        return Ok(());
    }
    let Some(Vlan { parent, id }) = &bridge.vlan_of else { return Err(missing(name)) };
    let link = super::bridge::find(links, parent)?.ok_or_else(|| missing(parent))?;
    links.add_vlan(name, link.index, *id).map_err(|error| {
        let text = format!("cannot make interface `{name}` for VLAN {id} of `{parent}`");
        match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => Error::new(Kind::Unsupported, "this kernel has no VLANs")
                .caused_by(error)
                .hint("load the module 8021q, or name another interface by -o parent=")
                .within(text),
            Some(libc::ENETDOWN) => Error::new(Kind::Unavailable, text)
                .caused_by(error)
                .hint(format!("take it up: ip link set {parent} up")),
            _ => Error::new(Kind::Internal, text).caused_by(error),
        }
    })
}

fn missing(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("this machine has no interface `{name}`"))
        .hint("containers were to share it; see `ip link`")
}

/// Makes sure that a bridge is there that others have made, and can do what is asked of it.
pub(super) fn find_bridge(links: &mut Links, bridge: &Bridge) -> Result<()> {
    let name = &bridge.interface;
    super::bridge::find(links, name)?.ok_or_else(|| missing(name))?;
    let found = links.keeps_vlans_apart(name).context(|| format!("cannot look up `{name}`"))?;
    match (found, bridge.vlan) {
        (None, _) => Err(Error::new(Kind::Invalid, format!("interface `{name}` is no bridge"))
            .hint("mode=unmanaged is for bridges that others have made; see `ip link show type bridge`")),
        (Some(false), Some(id)) => {
            let text = format!("bridge `{name}` does not keep VLANs apart: nobody could be in {id}");
            Err(Error::new(Kind::Invalid, text).hint(format!(
                "switch that on: ip link set {name} type bridge vlan_filtering 1; or leave out -o vlan="
            )))
        }
        _ => Ok(()),
    }
}

/// Removes the interface of a VLAN behind the last network that is on it. `others` are those that are
/// still set up.
pub(super) fn remove(links: &mut Links, bridge: &Bridge, others: &[Bridge]) -> Result<()> {
    let name = &bridge.interface;
    if bridge.vlan_of.is_none() || others.iter().any(|other| other.interface == *name) {
        return Ok(());
    }
    links.remove(name).context(|| format!("cannot remove interface `{name}`"))
}
