//! One firewall rule: tests that a packet passes from left to right, and what happens to it then; and what
//! there is to see of one that somebody has made.

use std::net::IpAddr;

use netlink_packet_core::NlasIterator;

use super::nft::{self, Attributes, Map};
use crate::spec::cidr::Cidr;

/// The register that holds what is tested, and the first of those that hold a concatenation.
const FIRST: u32 = 8;
/// The register that holds what happens to the packet.
const VERDICT: u32 = 0;

/// The verdict that lets a packet pass.
const ACCEPT: i32 = 1;
/// The verdict that makes a packet vanish.
const DROP: i32 = 0;
/// The verdict that goes on in another chain, and comes back from it.
const JUMP: i32 = -3;
/// The verdict that leaves the chain.
const RETURN: i32 = -5;

/// The numbers of the interfaces that a packet has come in by, and goes out by, among what is known of it.
const COMES_IN_BY: u32 = 6;
const GOES_OUT_BY: u32 = 7;

/// The kind of addresses that this machine has.
const LOCAL: u32 = 2;
/// The number of a connection's mark among what is known of it, and that of a packet's.
const MARK_OF_CONNECTION: u32 = 3;
const MARK_OF_PACKET: u32 = 3;

/// A header that data are loaded from.
#[derive(Clone, Copy)]
enum Header {
    Network = 1,
    Transport = 2,
}

/// An end of a packet's way.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

impl End {
    /// Returns the number of the interface there.
    fn interface(self) -> u32 {
        match self {
            Self::Source => COMES_IN_BY,
            Self::Destination => GOES_OUT_BY,
        }
    }
}

/// One rule.
#[derive(Default)]
pub(super) struct Rule(Attributes);

impl Rule {
    /// Passes packets that came in by, or go out by, this interface.
    pub(super) fn interface(self, end: End, name: &str) -> Self {
        self.compare_interface(end, name, true)
    }

    /// Passes packets that did not come in by, or do not go out by, this interface.
    pub(super) fn other_interface(self, end: End, name: &str) -> Self {
        self.compare_interface(end, name, false)
    }

    fn compare_interface(self, end: End, name: &str, equal: bool) -> Self {
        let key = end.interface();
        let mut padded = [0; libc::IFNAMSIZ];
        for (to, from) in padded.iter_mut().zip(name.as_bytes()) {
            *to = *from;
        }
        // The wide register that begins where `FIRST` does.
        self.meta(key, 1).compare(1, equal, &padded)
    }

    /// Passes packets that came in by, or go out by, this interface, in the words of `iptables`.
    pub(super) fn interface_of_iptables(self, end: End, name: &str) -> Self {
        self.meta(end.interface(), 1).compare(1, true, &[name.as_bytes(), &[0]].concat())
    }

    /// Counts packets.
    pub(super) fn counted(self) -> Self {
        let nothing = 0u64.to_be_bytes();
        self.expression("counter", Attributes::default().bytes(1, &nothing).bytes(2, &nothing))
    }

    /// Passes IPv4.
    pub(super) fn ipv4(self) -> Self {
        self.meta(15, FIRST).compare(FIRST, true, &[2])
    }

    fn ipv6(self) -> Self {
        self.meta(15, FIRST).compare(FIRST, true, &[10])
    }

    /// Passes packets from, or to, a network.
    pub(super) fn network(self, end: End, network: Cidr) -> Self {
        match network.range() {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let mask = !(u32::from(first) ^ u32::from(last));
                let rule = self.ipv4().address(end, FIRST).mask(&mask.to_be_bytes());
                rule.compare(FIRST, true, &first.octets())
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                let mask = !(u128::from(first) ^ u128::from(last));
                let offset = match end {
                    End::Source => 8,
                    End::Destination => 24,
                };
                let rule = self.ipv6().load(Header::Network, offset, 16, FIRST);
                rule.mask(&mask.to_be_bytes()).compare(FIRST, true, &first.octets())
            }
            _ => self,
        }
    }

    /// Passes packets to any address of this machine.
    pub(super) fn for_this_machine(self) -> Self {
        self.expression("fib", Attributes::default().number(1, FIRST).number(2, 3).number(3, 2))
            .compare(FIRST, true, &LOCAL.to_ne_bytes())
    }

    /// Passes packets that have an address of somebody else's as their source.
    pub(super) fn entering_from_elsewhere(self) -> Self {
        self.expression("fib", Attributes::default().number(1, FIRST).number(2, 3).number(3, 1))
            .compare(FIRST, false, &LOCAL.to_ne_bytes())
    }

    /// Passes packets of connections that have a mark.
    pub(super) fn marked(self, mark: u32) -> Self {
        self.expression("ct", Attributes::default().number(1, FIRST).number(2, MARK_OF_CONNECTION))
            .compare(FIRST, true, &mark.to_ne_bytes())
    }

    /// Gives the packet's connection a mark.
    pub(super) fn mark_connection(self, mark: u32) -> Attributes {
        let set = Attributes::default().number(2, MARK_OF_CONNECTION).number(4, FIRST);
        self.value(mark).expression("ct", set).0
    }

    /// Gives the packet a mark.
    pub(super) fn mark_packet(self, mark: u32) -> Attributes {
        let set = Attributes::default().number(2, MARK_OF_PACKET).number(3, FIRST);
        self.value(mark).expression("meta", set).0
    }

    /// Puts a number where what comes next takes it from.
    fn value(self, number: u32) -> Self {
        let data = Attributes::default().bytes(1, &number.to_ne_bytes());
        self.expression("immediate", Attributes::default().number(1, FIRST).nested(2, data))
    }

    /// Passes packets of connections that were there before, and of what belongs to them.
    pub(super) fn established(self) -> Self {
        self.tracked(0, 0b110)
    }

    /// Passes packets that begin a connection.
    pub(super) fn new_connection(self) -> Self {
        self.tracked(0, 0b1000)
    }

    /// Passes packets of connections whose destination was changed.
    pub(super) fn redirected(self) -> Self {
        self.tracked(2, 1 << 5)
    }

    fn tracked(self, key: u32, bits: u32) -> Self {
        self.expression("ct", Attributes::default().number(1, FIRST).number(2, key))
            .mask(&bits.to_ne_bytes())
            .compare(FIRST, false, &[0; 4])
    }

    /// Changes the destination to what a map has for protocol and port, or else passes the packet
    /// on; with an address, the map's keys begin with it.
    pub(super) fn redirect(self, map: Map, with_address: bool) -> Attributes {
        let mut rule = self.ipv4();
        let mut next = FIRST;
        if with_address {
            rule = rule.address(End::Destination, next);
            next += 1;
        }
        let lookup = Attributes::default().text(1, map.name).number(2, FIRST).number(3, FIRST);
        let nat =
            Attributes::default().number(1, 1).number(2, 2).number(3, FIRST).number(5, FIRST + 1);
        rule.meta(16, next)
            .load(Header::Transport, 2, 2, next + 1)
            .expression("lookup", lookup)
            .expression("nat", nat)
            .0
    }

    /// Changes the source to our own address on the interface that the packet leaves by.
    pub(super) fn masquerade(self) -> Attributes {
        self.expression("masq", Attributes::default()).0
    }

    /// Lets the packet pass this table.
    pub(super) fn accept(self) -> Attributes {
        self.verdict(ACCEPT, None)
    }

    /// Makes the packet vanish.
    pub(super) fn drop(self) -> Attributes {
        self.verdict(DROP, None)
    }

    /// Leaves the chain.
    pub(super) fn leave(self) -> Attributes {
        self.verdict(RETURN, None)
    }

    /// Goes on in another chain.
    pub(super) fn jump(self, chain: &str) -> Attributes {
        self.verdict(JUMP, Some(chain))
    }

    fn verdict(self, code: i32, chain: Option<&str>) -> Attributes {
        let mut verdict = Attributes::default().number(1, code.cast_unsigned());
        if let Some(chain) = chain {
            verdict = verdict.text(2, chain);
        }
        let data = Attributes::default().nested(2, verdict);
        self.expression("immediate", Attributes::default().number(1, VERDICT).nested(2, data)).0
    }

    fn address(self, end: End, register: u32) -> Self {
        let offset = match end {
            End::Source => 12,
            End::Destination => 16,
        };
        self.load(Header::Network, offset, 4, register)
    }

    fn load(self, header: Header, offset: u32, length: u32, register: u32) -> Self {
        let payload = Attributes::default()
            .number(1, register)
            .number(2, header as u32)
            .number(3, offset)
            .number(4, length);
        self.expression("payload", payload)
    }

    fn meta(self, key: u32, register: u32) -> Self {
        self.expression("meta", Attributes::default().number(1, register).number(2, key))
    }

    fn mask(self, mask: &[u8]) -> Self {
        let data = |value: &[u8]| Attributes::default().bytes(1, value);
        let bitwise = Attributes::default()
            .number(1, FIRST)
            .number(2, FIRST)
            .number(3, mask.len() as u32)
            .nested(4, data(mask))
            .nested(5, data(&vec![0; mask.len()]));
        self.expression("bitwise", bitwise)
    }

    fn compare(self, register: u32, equal: bool, value: &[u8]) -> Self {
        let compare = Attributes::default()
            .number(1, register)
            .number(2, u32::from(!equal))
            .nested(3, Attributes::default().bytes(1, value));
        self.expression("cmp", compare)
    }

    fn expression(self, name: &str, data: Attributes) -> Self {
        Self(self.0.nested(1, Attributes::default().text(1, name).nested(2, data)))
    }
}

/// What there is to see of a rule.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Its chain.
    pub(super) chain: String,
    /// Its number.
    pub(super) handle: u64,
    /// The comment that it carries.
    pub(super) comment: String,
    /// The interfaces that it asks about whether a packet goes out by them.
    pub(super) out_by: Vec<String>,
    /// Whether it leaves the chain with each packet, and does nothing else.
    pub(super) only_leaves: bool,
}

/// Reads the attributes of a rule, as the kernel shows them.
pub(super) fn read(attributes: &[u8]) -> Read {
    let mut rule = Read::default();
    for (kind, value) in parts(attributes) {
        match kind {
            nft::RULE_CHAIN => rule.chain = text(value),
            nft::RULE_HANDLE => {
                rule.handle = value.try_into().map(u64::from_be_bytes).unwrap_or_default();
            }
            nft::RULE_EXPRESSIONS => read_expressions(value, &mut rule),
            nft::RULE_NOTE => rule.comment = nft::comment_in(value).unwrap_or_default(),
            _ => {}
        }
    }
    rule
}

fn read_expressions(list: &[u8], rule: &mut Read) {
    let mut goes_out = false;
    let mut leaves = false;
    let mut others = false;
    for (_, expression) in parts(list) {
        let name = text(part(expression, 1).unwrap_or_default());
        let data = part(expression, 2).unwrap_or_default();
        let was_going_out = std::mem::take(&mut goes_out);
        match name.as_str() {
            "counter" => goes_out = was_going_out,
            "meta" => {
                goes_out = part(data, 2) == Some(&GOES_OUT_BY.to_be_bytes());
                others = true;
            }
            "cmp" => {
                let name = part(data, 3).and_then(|data| part(data, 1)).unwrap_or_default();
                rule.out_by.extend(was_going_out.then(|| text(name)));
                others = true;
            }
            "immediate" => {
                let verdict = part(data, 2).and_then(|data| part(data, 2)).unwrap_or_default();
                leaves = part(verdict, 1) == Some(&RETURN.to_be_bytes());
                others |= !leaves;
            }
            _ => others = true,
        }
    }
    rule.only_leaves = leaves && !others;
}

/// Returns the first of the attributes that is of this kind.
fn part(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    parts(attributes).find(|(it, _)| *it == kind).map(|(_, value)| value)
}

/// Returns kinds and values of attributes.
fn parts(attributes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(attributes).map_while(Result::ok).filter_map(|attribute| {
        let (kind, length) = (attribute.kind(), attribute.value_length());
        Some((kind, attribute.into_inner().get(4..4 + length)?))
    })
}

/// Reads a text that ends with a zero.
fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rule: Attributes, comment: &str) -> Read {
        let shown = Attributes::default()
            .text(1, "filter")
            .text(nft::RULE_CHAIN, "DOCKER")
            .bytes(nft::RULE_HANDLE, &7u64.to_be_bytes())
            .nested(nft::RULE_EXPRESSIONS, rule)
            .bytes(nft::RULE_NOTE, &nft::note(comment));
        read(shown.as_bytes())
    }

    #[test]
    fn reads_rules() {
        let out = Rule::default().interface_of_iptables(End::Destination, "docker0");
        let read_out = shown(out.counted().drop(), "why");
        let want = Read {
            chain: "DOCKER".to_owned(),
            handle: 7,
            comment: "why".to_owned(),
            out_by: vec!["docker0".to_owned()],
            only_leaves: false,
        };
        assert_eq!(read_out, want);
        let not = Rule::default()
            .interface_of_iptables(End::Source, "eth0")
            .other_interface(End::Destination, "docker0");
        assert_eq!(shown(not.leave(), "").out_by, ["docker0"]);
        assert!(!shown(Rule::default().interface(End::Source, "a").leave(), "").only_leaves);
        assert!(shown(Rule::default().counted().leave(), "").only_leaves);
        assert!(!shown(Rule::default().counted().accept(), "").only_leaves);
        assert_eq!(read(&[1, 2, 3]), Read::default());
    }
}
