//! Interfaces of the host that are given to a container whole, with their addresses.
//!
//! The kernel moves an interface to another network namespace with its hardware address and its
//! settings, and takes its addresses away; those that are meant to stay are put back there.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use oci_spec::runtime::LinuxNetDevice;

use super::link::Links;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::netlink::{Protocol, Socket, flags};

/// The longest name of an interface, in bytes.
const LONGEST_NAME: usize = 15;
/// What the kernel makes a number of, to find a name that is free.
const PATTERN: &str = "%d";

/// Moves interfaces to a network namespace; by their names here.
pub fn move_devices(
    devices: &HashMap<String, LinuxNetDevice>,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let mut here = Links::open().context(|| "cannot talk to the kernel about interfaces")?;
    let mut there = Links::open_in(netns).context(|| "cannot open the container's network")?;
    let mut moves = Vec::new();
    // All are looked at before one is moved: there is no way back.
    for (name, device) in devices {
        let context = || format!("cannot move interface {name}");
        let new = device.name().as_deref().filter(|new| !new.is_empty()).unwrap_or(name);
        check_name(new).context(context)?;
        let found = here.find(name).context(context)?.ok_or_else(|| {
            Error::new(Kind::NotFound, "there is no such interface").within(context())
        })?;
        if !new.contains(PATTERN) && there.find(new).context(context)?.is_some() {
            let message = format!("the container has an interface {new} already");
            return Err(Error::new(Kind::Conflict, message).within(context()));
        }
        moves.push((name, new, found.index));
    }
    moves.into_iter().try_for_each(|(name, new, index)| {
        move_one(index, new, netns).map_err(|error| {
            let kind = match error.raw_os_error() {
                Some(libc::EPERM) => Kind::Denied,
                // It is bound to its namespace, as the loopback interface is.
                Some(libc::EINVAL) => Kind::Invalid,
                _ => Kind::Internal,
            };
            Error::new(kind, format!("cannot move interface {name}")).caused_by(error)
        })
    })
}

fn check_name(name: &str) -> Result<()> {
    let pattern = name.matches('%').count() == name.matches(PATTERN).count();
    let fits = (1..=LONGEST_NAME).contains(&name.len()) && !matches!(name, "." | "..");
    let plain = !name.contains(|letter: char| letter == '/' || letter.is_whitespace());
    if fits && plain && pattern && name.matches(PATTERN).count() <= 1 {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, format!("`{name}` is no name of an interface"))
        .hint("a name has up to 15 letters, without `/` and blanks; one `%d` is a number"))
}

fn move_one(index: u32, name: &str, netns: BorrowedFd<'_>) -> io::Result<()> {
    let mut here = Socket::open(Protocol::Route)?;
    let mut there = Socket::open_in(netns, Protocol::Route)?;
    let addresses = addresses(&mut here, index)?;
    let mut message = LinkMessage::default();
    message.header.index = index;
    // It goes down by being moved; said here, it may also be renamed.
    message.header.change_mask = LinkFlags::Up;
    message.attributes =
        vec![LinkAttribute::NetNsFd(netns.as_raw_fd()), LinkAttribute::IfName(name.to_owned())];
    here.request(libc::RTM_SETLINK, 0, &bytes(&message), |_, _| ())?;
    let index = moved(&mut there, index, name)?;
    for mut address in addresses {
        address.header.index = index;
        let extra = flags::CREATE | flags::EXCL;
        match there.request(libc::RTM_NEWADDR, extra, &bytes(&address), |_, _| ()) {
            // It has kept it.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            other => other?,
        }
    }
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    there.request(libc::RTM_SETLINK, 0, &bytes(&message), |_, _| ())
}

/// Returns the number that a moved interface has in its new place. It keeps its own if that is free.
fn moved(there: &mut Socket, index: u32, name: &str) -> io::Result<u32> {
    let mut message = LinkMessage::default();
    match name.contains(PATTERN) {
        // Which name it got is not known; the namespace is new, so the number is free.
        true => message.header.index = index,
        false => message.attributes.push(LinkAttribute::IfName(name.to_owned())),
    }
    let mut found = None;
    there.request(libc::RTM_GETLINK, 0, &bytes(&message), |_, payload| {
        found = LinkMessage::parse(payload).ok().map(|link| link.header.index);
    })?;
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Returns the addresses of an interface that are for good and for everywhere.
fn addresses(socket: &mut Socket, index: u32) -> io::Result<Vec<AddressMessage>> {
    let mut found = Vec::new();
    let all = AddressMessage::default();
    socket.request(libc::RTM_GETADDR, flags::DUMP, &bytes(&all), |_, payload| {
        let Ok(mut message) = AddressMessage::parse(payload) else { return };
        let permanent = message.attributes.iter().any(|attribute| {
            matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Permanent))
        });
        let wanted = message.header.index == index
            && message.header.scope == AddressScope::Universe
            && permanent;
        if !wanted {
            return;
        }
        // What was found out about it here is found out anew there.
        message.attributes.retain(|attribute| {
            matches!(
                attribute,
                AddressAttribute::Address(_)
                    | AddressAttribute::Local(_)
                    | AddressAttribute::Broadcast(_)
            )
        });
        found.push(message);
    })?;
    Ok(found)
}

fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_names_of_interfaces() {
        for (name, want) in [
            ("eth0", true),
            ("eth%d", true),
            ("%d%d", false),
            ("eth%s", false),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
            ("fifteen-letters", true),
            ("sixteen-letters-", false),
        ] {
            assert_eq!(check_name(name).is_ok(), want, "{name}");
        }
    }
}
