//! Interfaces, addresses and routes of one network namespace, over netlink.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{Emitable, NlasIterator, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridge, InfoBridgePort, InfoData,
    InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth, InfoVlan, IpVlanMode,
    LinkAttribute, LinkFlags, LinkHeader, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use sha2::{Digest, Sha256};

use crate::spec::cidr::Cidr;
use crate::spec::network_spec::{IpvlanMode, MacvlanMode, Route, Sharing};
use crate::sys::netlink::{Protocol, Socket, flags};

/// The mark of packets for visitors, whose address the relay uses, and the table of routes for them.
pub(super) const VISITORS: u32 = 0x6261_7267;
const VISITORS_TABLE: u32 = 0x6261;

/// The setting of a bridge that says whether it keeps VLANs apart.
const VLAN_FILTERING: u16 = 7;
/// The first tag of a VLAN, and the last one.
const TAGS: [u16; 2] = [1, 4094];

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// Interfaces, addresses and routes of one network namespace.
pub(super) struct Links(Socket);

/// An interface that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mtu: u32,
    pub(super) mac: Option<Mac>,
}

/// The way to the rest of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uplink {
    /// Index of the interface.
    pub(super) index: u32,
    /// The next router, where one is named.
    pub(super) gateway: Option<IpAddr>,
}

/// A pair of interfaces that is to be made, one end of it in another namespace.
pub(super) struct Veth<'a> {
    /// Name of the end that stays here.
    pub(super) name: &'a str,
    /// Index of the bridge that it becomes a port of.
    pub(super) bridge: u32,
    /// Largest packet of both ends.
    pub(super) mtu: u32,
    /// Name of the end in the other namespace.
    pub(super) peer_name: &'a str,
    /// Its hardware address.
    pub(super) peer_mac: Mac,
    /// The other namespace.
    pub(super) peer_netns: BorrowedFd<'a>,
}

/// An interface in another namespace that is to be made.
pub(super) struct Shared<'a> {
    /// Its name there.
    pub(super) name: &'a str,
    /// Index of the interface that it shares.
    pub(super) parent: u32,
    /// How it shares that with others.
    pub(super) sharing: Sharing,
    /// Largest packet.
    pub(super) mtu: u32,
    /// Its hardware address; `None` is that of the interface that it shares.
    pub(super) mac: Option<Mac>,
    /// The other namespace.
    pub(super) netns: BorrowedFd<'a>,
}

impl Links {
    /// Opens those of the caller's namespace.
    pub(super) fn open() -> io::Result<Self> {
        Socket::open(Protocol::Route).map(Self)
    }

    /// Opens those of another namespace.
    pub(super) fn open_in(netns: BorrowedFd<'_>) -> io::Result<Self> {
        Socket::open_in(netns, Protocol::Route).map(Self)
    }

    /// Looks an interface up.
    pub(super) fn find(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.one(&message)
    }

    /// Looks an interface up by its index.
    pub(super) fn by_index(&mut self, index: u32) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.one(&message)
    }

    fn one(&mut self, message: &LinkMessage) -> io::Result<Option<Link>> {
        let mut found = None;
        let asked = self.0.request(libc::RTM_GETLINK, 0, &bytes(message), |_, payload| {
            found = link(payload);
        });
        match asked {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            other => other.map(|()| found),
        }
    }

    /// Makes a bridge that is up.
    ///
    /// Its hardware address is set, or it would change with the ports and upset its neighbors.
    /// With the tag of a VLAN, all its ports and itself are in that.
    pub(super) fn add_bridge(&mut self, name: &str, mac: Mac, vlan: Option<u16>) -> io::Result<()> {
        let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
        info.extend(vlan.map(|id| {
            let settings = [InfoBridge::VlanFiltering(true), InfoBridge::VlanDefaultPvid(id)];
            LinkInfo::Data(InfoData::Bridge(settings.into()))
        }));
        let mut message = LinkMessage::default();
        set_up(&mut message.header);
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(info),
        ];
        self.create(libc::RTM_NEWLINK, &message)
    }

    /// Makes a pair of interfaces, of which the end that stays here is up.
    ///
    /// The peer cannot be taken up in the same request: it is made first and has no peer yet.
    pub(super) fn add_veth(&mut self, veth: &Veth<'_>) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(veth.peer_name.to_owned()),
            LinkAttribute::Address(veth.peer_mac.to_vec()),
            LinkAttribute::Mtu(veth.mtu),
            LinkAttribute::NetNsFd(veth.peer_netns.as_raw_fd()),
        ];
        let mut message = LinkMessage::default();
        set_up(&mut message.header);
        message.attributes = vec![
            LinkAttribute::IfName(veth.name.to_owned()),
            LinkAttribute::Mtu(veth.mtu),
            LinkAttribute::Controller(veth.bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        self.create(libc::RTM_NEWLINK, &message)
    }

    /// Makes an interface in another namespace that shares one of ours; it is not up.
    pub(super) fn add_shared(&mut self, shared: &Shared<'_>) -> io::Result<()> {
        let info = match shared.sharing {
            Sharing::Macvlan(mode) => {
                let mode = match mode {
                    MacvlanMode::Bridge => MacVlanMode::Bridge,
                    MacvlanMode::Private => MacVlanMode::Private,
                    MacvlanMode::Vepa => MacVlanMode::Vepa,
                    MacvlanMode::Passthru => MacVlanMode::Passthrough,
                };
                let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]);
                vec![LinkInfo::Kind(InfoKind::MacVlan), LinkInfo::Data(data)]
            }
            Sharing::Ipvlan(mode) => {
                let mode = match mode {
                    IpvlanMode::L2 => IpVlanMode::L2,
                    IpvlanMode::L3 => IpVlanMode::L3,
                    IpvlanMode::L3s => IpVlanMode::L3S,
                };
                let data = InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)]);
                vec![LinkInfo::Kind(InfoKind::IpVlan), LinkInfo::Data(data)]
            }
        };
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(shared.name.to_owned()),
            LinkAttribute::Link(shared.parent),
            LinkAttribute::Mtu(shared.mtu),
            LinkAttribute::NetNsFd(shared.netns.as_raw_fd()),
        ];
        message.attributes.extend(shared.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.create(libc::RTM_NEWLINK, &message)
    }

    /// Makes an interface for a VLAN of another one, and takes it up.
    pub(super) fn add_vlan(&mut self, name: &str, parent: u32, id: u16) -> io::Result<()> {
        let mut message = LinkMessage::default();
        set_up(&mut message.header);
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(parent),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vlan),
                LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(id)])),
            ]),
        ];
        self.create(libc::RTM_NEWLINK, &message)
    }

    /// Lets a bridge send a packet back through the port that it came from; an `isolated` port has
    /// nothing to do with others of its kind.
    ///
    /// Where bridged packets pass the firewall (`bridge-nf-call-iptables`, which Kubernetes wants), one
    /// from a container to a port that the container itself publishes takes this way.
    pub(super) fn set_port(&mut self, port: &str, isolated: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        let mut hairpin = vec![InfoBridgePort::HairpinMode(true)];
        hairpin.extend(isolated.then_some(InfoBridgePort::Isolated(true)));
        message.attributes = vec![
            LinkAttribute::IfName(port.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(hairpin)),
            ]),
        ];
        self.0.request(libc::RTM_NEWLINK, 0, &bytes(&message), |_, _| ())
    }

    /// Puts a port of a bridge in a VLAN and in no other; what the container sends and gets has no tag.
    pub(super) fn set_port_vlan(&mut self, port: &str, id: u16) -> io::Result<()> {
        let index = self.find(port)?.ok_or(io::ErrorKind::NotFound)?.index;
        let message = |infos: &[(u16, BridgeVlanInfoFlags)]| {
            let info = |(vid, flags): &(u16, BridgeVlanInfoFlags)| {
                AfSpecBridge::VlanInfo(BridgeVlanInfo { flags: *flags, vid: *vid })
            };
            let mut message = LinkMessage::default();
            message.header.interface_family = AddressFamily::Bridge;
            message.header.index = index;
            message.attributes =
                vec![LinkAttribute::AfSpecBridge(infos.iter().map(info).collect())];
            bytes(&message)
        };
        let [first, last] = TAGS;
        // What a port is in without being told.
        let others = message(&[
            (first, BridgeVlanInfoFlags::RangeBegin),
            (last, BridgeVlanInfoFlags::RangeEnd),
        ]);
        self.0.request(libc::RTM_DELLINK, 0, &others, |_, _| ())?;
        let own = message(&[(id, BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged)]);
        self.0.request(libc::RTM_SETLINK, 0, &own, |_, _| ())
    }

    /// Tells whether a bridge keeps VLANs apart; `None` if the interface is no bridge.
    pub(super) fn keeps_vlans_apart(&mut self, name: &str) -> io::Result<Option<bool>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let mut found = None;
        self.0.request(libc::RTM_GETLINK, 0, &bytes(&message), |_, payload| {
            found = vlan_filtering(payload);
        })?;
        Ok(found)
    }

    /// Takes an interface away; one that is not there is fine.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.0.request(libc::RTM_DELLINK, 0, &bytes(&message), |_, _| ()) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// Takes a port off its bridge and down; one that is not there is fine.
    ///
    /// To remove it takes twenty times as long.
    pub(super) fn unplug(&mut self, name: &str) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.change_mask = LinkFlags::Up;
        message.attributes =
            vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Controller(0)];
        match self.0.request(libc::RTM_SETLINK, 0, &bytes(&message), |_, _| ()) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// Makes an interface a port of the bridge of this index, and takes it up; one that is not there is
    /// fine.
    pub(super) fn plug(&mut self, name: &str, bridge: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        set_up(&mut message.header);
        message.attributes =
            vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Controller(bridge)];
        match self.0.request(libc::RTM_SETLINK, 0, &bytes(&message), |_, _| ()) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// Takes the interface of this index up.
    pub(super) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        set_up(&mut message.header);
        self.0.request(libc::RTM_SETLINK, 0, &bytes(&message), |_, _| ())
    }

    /// Takes the loopback interface up; it has this index in every namespace.
    pub(super) fn set_loopback_up(&mut self) -> io::Result<()> {
        self.set_up(1)
    }

    /// Gives an interface an address; one that it has already is fine.
    pub(super) fn add_address(&mut self, index: u32, address: Cidr) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address.address());
        message.header.prefix_len = address.prefix();
        message.header.index = index;
        message.attributes = vec![
            AddressAttribute::Local(address.address()),
            AddressAttribute::Address(address.address()),
        ];
        match address.ipv4_range() {
            Some((_, last)) => message.attributes.push(AddressAttribute::Broadcast(last)),
            // Leases are unique: nobody has to be asked, for a second, whether it is taken.
            None => message.header.flags = AddressHeaderFlags::Nodad,
        }
        present(self.create(libc::RTM_NEWADDR, &message))
    }

    /// Takes an address of an interface away; one that it has not is fine.
    pub(super) fn remove_address(&mut self, index: u32, address: Cidr) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address.address());
        message.header.prefix_len = address.prefix();
        message.header.index = index;
        message.attributes = vec![AddressAttribute::Local(address.address())];
        match self.0.request(libc::RTM_DELADDR, 0, &bytes(&message), |_, _| ()) {
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
            other => other,
        }
    }

    /// Sends everything that has no better route to `gateway`; if it is sent elsewhere already, that
    /// stays.
    pub(super) fn add_default_route(&mut self, index: u32, gateway: IpAddr) -> io::Result<()> {
        present(self.create(libc::RTM_NEWROUTE, &route(index, None, gateway, None)))
    }

    /// Sends everything that has no better route to `gateway`, wherever it was sent before.
    pub(super) fn set_default_route(&mut self, index: u32, gateway: IpAddr) -> io::Result<()> {
        let message = bytes(&route(index, None, gateway, None));
        let flags = flags::CREATE | flags::REPLACE;
        self.0.request(libc::RTM_NEWROUTE, flags, &message, |_, _| ())
    }

    /// Adds a way to elsewhere; one that is there already is fine.
    pub(super) fn add_route(&mut self, index: u32, route: &Route) -> io::Result<()> {
        let to = Some(route.destination);
        let message = self::route(index, to, route.gateway, route.metric);
        present(self.create(libc::RTM_NEWROUTE, &message))
    }

    /// Has packets with the mark of visitors arrive here, wherever they are sent to.
    ///
    /// What the relay sends to a container under a visitor's address is answered to that address.
    pub(super) fn let_visitors_return(&mut self) -> io::Result<()> {
        let mut rule = RuleMessage::default();
        rule.header.family = AddressFamily::Inet;
        rule.header.action = RuleAction::ToTable;
        rule.attributes =
            vec![RuleAttribute::FwMark(VISITORS), RuleAttribute::Table(VISITORS_TABLE)];
        present(self.create(libc::RTM_NEWRULE, &rule))?;
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.protocol = RouteProtocol::Boot;
        route.header.scope = RouteScope::Host;
        route.header.kind = RouteType::Local;
        // That of the loopback interface in every namespace.
        route.attributes = vec![RouteAttribute::Oif(1), RouteAttribute::Table(VISITORS_TABLE)];
        present(self.create(libc::RTM_NEWROUTE, &route))
    }

    /// Returns the IPv4 networks that have a route, in all tables, or an address.
    ///
    /// What is shorter than eight bits stands for "everything" (a virtual private network that takes
    /// all traffic adds two halves of it) and excludes nothing.
    pub(super) fn networks(&mut self) -> io::Result<Vec<Cidr>> {
        let mut networks = Vec::new();
        for route in self.routes()? {
            let length = route.header.destination_prefix_length;
            let destination = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
                _ => None,
            });
            if route.header.kind == RouteType::Unicast && length >= 8 {
                networks.extend(destination.and_then(|address| Cidr::new(address, length)));
            }
        }
        networks.extend(self.addresses()?.into_iter().map(|(_, address)| address));
        Ok(networks)
    }

    /// Returns the way to the rest of the world by IPv4.
    pub(super) fn uplink(&mut self) -> io::Result<Option<Uplink>> {
        let mut best: Option<(Uplink, u32)> = None;
        for route in self.routes()? {
            let header = &route.header;
            if header.kind != RouteType::Unicast || header.destination_prefix_length != 0 {
                continue;
            }
            let mut index = None;
            let mut gateway = None;
            let mut metric = 0;
            for attribute in &route.attributes {
                match attribute {
                    RouteAttribute::Oif(oif) => index = Some(*oif),
                    RouteAttribute::Priority(priority) => metric = *priority,
                    RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
                        gateway = Some(IpAddr::V4(*address));
                    }
                    RouteAttribute::MultiPath(hops) => {
                        index = hops.first().map(|hop| hop.interface_index);
                    }
                    _ => {}
                }
            }
            if let Some(index) = index
                && best.is_none_or(|(_, least)| metric < least)
            {
                best = Some((Uplink { index, gateway }, metric));
            }
        }
        Ok(best.map(|(uplink, _)| uplink))
    }

    fn routes(&mut self) -> io::Result<Vec<RouteMessage>> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        let mut routes = Vec::new();
        self.0.request(libc::RTM_GETROUTE, flags::DUMP, &bytes(&message), |_, payload| {
            // A route of a kind that is not understood is none that matters here.
            routes.extend(RouteMessage::parse(payload));
        })?;
        Ok(routes)
    }

    /// Returns all IPv4 addresses with the index of their interface.
    pub(super) fn addresses(&mut self) -> io::Result<Vec<(u32, Cidr)>> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let mut addresses = Vec::new();
        self.0.request(libc::RTM_GETADDR, flags::DUMP, &bytes(&message), |_, payload| {
            let Ok(message) = AddressMessage::parse(payload) else { return };
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
            let address = local.and_then(|local| Cidr::new(local, message.header.prefix_len));
            addresses.extend(address.map(|address| (message.header.index, address)));
        })?;
        Ok(addresses)
    }

    /// Tells whether the kernel can make interfaces of this kind; makes none.
    pub(super) fn supports(&mut self, kind: InfoKind) -> io::Result<bool> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            // No interface can have this name: a kernel that knows the kind refuses the name.
            LinkAttribute::IfName("/".to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]),
        ];
        match self.create(libc::RTM_NEWLINK, &message) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(true),
            other => other.map(|()| true),
        }
    }

    fn create(&mut self, kind: u16, message: &impl Emitable) -> io::Result<()> {
        self.0.request(kind, flags::CREATE | flags::EXCL, &bytes(message), |_, _| ())
    }
}

/// Makes a way to elsewhere, or to all that has no other.
fn route(index: u32, to: Option<Cidr>, gateway: IpAddr, metric: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes =
        vec![RouteAttribute::Gateway(RouteAddress::from(gateway)), RouteAttribute::Oif(index)];
    if let Some(to) = to.filter(|to| to.prefix() > 0) {
        message.header.destination_prefix_length = to.prefix();
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to.address())));
    }
    message.attributes.extend(metric.map(RouteAttribute::Priority));
    message
}

/// Returns a hardware address for an IPv4 address on one of our bridges.
///
/// Derived, not drawn: who has the address in its neighbor table is right about the next holder too.
pub(super) fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    // Locally administered, not a group.
    [0x06, 0xba, a, b, c, d]
}

/// Returns a hardware address for a bridge that has these addresses, or none.
pub(super) fn mac_of_bridge(addresses: impl Iterator<Item = IpAddr>, name: &str) -> Mac {
    let mut ipv4 = addresses.filter_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    ipv4.next().map_or_else(
        || {
            let hash = Sha256::digest(name);
            [0x06, 0xbd, hash[0], hash[1], hash[2], hash[3]]
        },
        mac_of,
    )
}

/// Writes a hardware address in the usual way.
pub(super) fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Writes a setting of the caller's namespace, below `/proc/sys`.
pub(super) fn set(path: &str, value: &str) -> io::Result<()> {
    // Opened without creation: procfs makes no files.
    File::options().write(true).open(format!("/proc/sys/{path}"))?.write_all(value.as_bytes())
}

fn bytes(message: &impl Emitable) -> Vec<u8> {
    let mut buffer = vec![0; message.buffer_len()];
    message.emit(&mut buffer);
    buffer
}

fn set_up(header: &mut LinkHeader) {
    header.flags = LinkFlags::Up;
    header.change_mask = LinkFlags::Up;
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn present(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Reads of an interface whether it is a bridge that keeps VLANs apart; `None` if it is no bridge.
fn vlan_filtering(payload: &[u8]) -> Option<bool> {
    let header = LinkHeader::parse(payload).ok()?;
    let info = attribute(payload.get(header.buffer_len()..)?, libc::IFLA_LINKINFO)?;
    let is_bridge = attribute(&info, libc::IFLA_INFO_KIND)?.starts_with(b"bridge");
    let data = attribute(&info, libc::IFLA_INFO_DATA).unwrap_or_default();
    // A kernel that cannot do it does not speak of it.
    is_bridge.then(|| attribute(&data, VLAN_FILTERING).is_some_and(|it| it.first() == Some(&1)))
}

fn attribute(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    let mut all = NlasIterator::new(attributes).map_while(Result::ok);
    all.find(|it| it.kind() == kind).map(|it| it.value().to_vec())
}

/// Reads what is of interest by hand: the whole has more than a hundred attributes, and one that a
/// later kernel writes in another way must not matter.
pub(super) fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    let attributes = payload.get(header.buffer_len()..)?;
    let mut link = Link { index: header.index, name: String::new(), mtu: 0, mac: None };
    for attribute in NlasIterator::new(attributes).map_while(Result::ok) {
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_IFNAME => {
                let name = value.strip_suffix(&[0]).unwrap_or(value);
                link.name = String::from_utf8_lossy(name).into_owned();
            }
            libc::IFLA_MTU => link.mtu = u32::from_ne_bytes(*value.first_chunk()?),
            libc::IFLA_ADDRESS => link.mac = value.try_into().ok(),
            _ => {}
        }
    }
    Some(link)
}
