//! A network namespace that a container has had in its last run, and finds again: others in it have
//! kept it, with what that run has left there.

use std::os::fd::BorrowedFd;

use super::{Prepared, Way, firewall, veth};
use crate::error::{Context, Kind, Result};

/// Takes away what is in the way of a container that is about to be connected in a namespace which its
/// last run has been in: interfaces that were only unplugged, and where names were asked for.
pub fn clear(prepared: &Prepared, netns: BorrowedFd<'_>) -> Result<()> {
    // The others have interfaces of programs that have ended, which went with them.
    let Way::Bridges(_) = prepared.way else { return Ok(()) };
    let mut links = prepared.ground.links()?;
    // Of all networks: it may have been on others then.
    for number in 0..veth::MOST {
        let name = veth::host_interface(&prepared.id, number);
        links.remove(&name).context(|| format!("cannot remove interface `{name}`"))?;
    }
    // Those that share an interface of this machine have no other end.
    prepared.endpoint.connections.iter().try_for_each(|it| veth::remove(netns, it))?;
    match firewall::forget_names(netns) {
        // Then there is nothing to forget.
        Err(error) if error.kind() == Kind::Unsupported => Ok(()),
        forgotten => forgotten,
    }
}
