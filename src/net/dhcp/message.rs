//! The language of DHCP: enough of RFC 2131 to ask for an IPv4 address and to understand the answer.
//!
//! Packets are whole, with the headers of IPv4 and UDP: who asks has no address yet. What comes in was
//! written by anybody. Nothing here trusts a length, or allocates by a number that it was told.

use std::net::Ipv4Addr;

/// The longest header of IPv4 that is written here, and the one of UDP.
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
/// What comes before the options, but the cookie.
const FIXED: usize = 236;
/// What options begin with.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The shortest message that all servers take.
const SHORTEST: usize = 300;

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
const UDP: u8 = 17;
/// Where the server's name and the file are, which may hold options instead.
const SERVER_NAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

const PAD: u8 = 0;
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const NAME_SERVERS: u8 = 6;
const HOST_NAME: u8 = 12;
const MTU: u8 = 26;
const REQUESTED: u8 = 50;
const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const WANTED: u8 = 55;
const LARGEST: u8 = 57;
const RENEWAL_TIME: u8 = 58;
const CLIENT: u8 = 61;
const END: u8 = 255;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The hardware address.
    pub(super) mac: [u8; 6],
    /// What tells it from others with the same address; begins with its type.
    pub(super) identity: Vec<u8>,
    /// The name that servers may make known.
    pub(super) hostname: String,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Who has an address?
    Discover,
    /// May I have this one, of that server?
    Request(Ipv4Addr, Ipv4Addr),
    /// May I keep this one?
    Renew(Ipv4Addr),
    /// I do not need this one of that server any more.
    Release(Ipv4Addr, Ipv4Addr),
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This is free.
    Offer(Terms),
    /// You have it.
    Granted(Terms),
    /// You cannot have it.
    Refused,
}

/// An address, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) struct Terms {
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
    pub(super) server: Ipv4Addr,
    pub(super) router: Option<Ipv4Addr>,
    pub(super) name_servers: Vec<Ipv4Addr>,
    pub(super) mtu: Option<u32>,
    /// How long it is granted, in seconds.
    pub(super) seconds: u32,
    /// After which time it is to be renewed.
    pub(super) renewal: u32,
}

impl Question {
    /// Writes a packet. `xid` tells the answers to this one from others.
    pub(super) fn packet(self, who: &Who, xid: u32) -> Vec<u8> {
        let (own, to) = match self {
            Self::Discover | Self::Request(..) => (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
            Self::Renew(own) => (own, Ipv4Addr::BROADCAST),
            Self::Release(own, server) => (own, server),
        };
        let message = self.message(who, xid, own);
        let length = |headers: usize| u16::try_from(message.len() + headers).unwrap_or(u16::MAX);
        let mut packet = vec![0x45, 0];
        packet.extend(length(IP_HEADER + UDP_HEADER).to_be_bytes());
        // Not to be taken apart, for 64 routers at most.
        packet.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
        packet.extend(own.octets());
        packet.extend(to.octets());
        let sum = checksum(&packet, 0);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let udp = length(UDP_HEADER);
        let mut datagram = Vec::new();
        for field in [CLIENT_PORT, SERVER_PORT, udp, 0] {
            datagram.extend(field.to_be_bytes());
        }
        datagram.extend(message);
        let pseudo = [&own.octets()[..], &to.octets(), &[0, UDP], &udp.to_be_bytes()].concat();
        // Zero would say that there is none.
        let sum = match checksum(&datagram, sum_of(&pseudo)) {
            0 => u16::MAX,
            sum => sum,
        };
        datagram[6..8].copy_from_slice(&sum.to_be_bytes());
        packet.extend(datagram);
        packet
    }

    fn message(self, who: &Who, xid: u32, own: Ipv4Addr) -> Vec<u8> {
        // A request, over Ethernet, with addresses of six bytes.
        let mut message = vec![1, 1, 6, 0];
        message.extend(xid.to_be_bytes());
        // The answer is to go to everybody: who has no address yet cannot be sent to.
        message.extend([0, 0, 0x80, 0]);
        message.extend(own.octets());
        message.resize(28, 0);
        message.extend(who.mac);
        message.resize(FIXED, 0);
        message.extend(COOKIE);
        let mut add = |code: u8, value: &[u8]| {
            // None is longer: see `Who`.
            let length = value.len().min(255);
            message.extend([code, length as u8]);
            message.extend(&value[..length]);
        };
        add(
            KIND,
            &[match self {
                Self::Discover => 1,
                Self::Request(..) | Self::Renew(_) => 3,
                Self::Release(..) => 7,
            }],
        );
        add(CLIENT, &who.identity);
        match self {
            Self::Request(address, server) => {
                add(REQUESTED, &address.octets());
                add(SERVER, &server.octets());
            }
            Self::Release(_, server) => add(SERVER, &server.octets()),
            Self::Discover | Self::Renew(_) => {}
        }
        if !matches!(self, Self::Release(..)) {
            if !who.hostname.is_empty() {
                add(HOST_NAME, who.hostname.as_bytes());
            }
            add(LARGEST, &1500u16.to_be_bytes());
            add(WANTED, &[SUBNET_MASK, ROUTER, NAME_SERVERS, MTU, LEASE_TIME, RENEWAL_TIME]);
        }
        message.push(END);
        message.resize(message.len().max(SHORTEST), PAD);
        message
    }
}

/// Adds 16-bit words up, as the checksums of IP do.
fn sum_of(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)])));
    words.sum()
}

fn checksum(bytes: &[u8], begin: u32) -> u16 {
    let mut sum = begin + sum_of(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Reads the answer to a question of this number by this hardware address; `None` if a packet is something
/// else, or makes no sense.
pub(super) fn parse(packet: &[u8], who: &Who, xid: u32) -> Option<Answer> {
    let message = datagram(packet)?;
    let fixed = message.get(..FIXED)?;
    let is_ours = fixed[..3] == [2, 1, 6] && fixed[4..8] == xid.to_be_bytes();
    if !is_ours || fixed[28..34] != who.mac || message.get(FIXED..FIXED + 4)? != COOKIE {
        return None;
    }
    let options = Options::read(message);
    let address = |at: &[u8]| Some(Ipv4Addr::from(*at.first_chunk::<4>()?));
    let number = |code| Some(u32::from_be_bytes(*options.get(code)?.first_chunk::<4>()?));
    let kind = *options.get(KIND)?.first()?;
    if kind == 6 {
        return Some(Answer::Refused);
    }
    let own = address(&fixed[16..20])?;
    let mask = options.get(SUBNET_MASK).and_then(|it| it.first_chunk::<4>());
    let prefix = match mask {
        Some(mask) => {
            let mask = u32::from_be_bytes(*mask);
            // One with holes is none.
            (mask.leading_ones() + mask.trailing_zeros() == 32).then_some(mask.leading_ones())?
        }
        // By its class, as of old.
        None => match own.octets()[0] {
            0..=127 => 8,
            128..=191 => 16,
            _ => 24,
        },
    };
    let is_usable = |it: &Ipv4Addr| {
        !it.is_unspecified() && !it.is_loopback() && !it.is_multicast() && !it.is_broadcast()
    };
    let seconds = number(LEASE_TIME)?.max(1);
    let half = seconds / 2;
    let terms = Terms {
        address: Some(own).filter(is_usable)?,
        prefix: u8::try_from(prefix).ok()?,
        server: address(options.get(SERVER)?)?,
        router: options.get(ROUTER).and_then(address).filter(is_usable),
        name_servers: options
            .get(NAME_SERVERS)
            .map(|all| all.chunks_exact(4).filter_map(address).filter(is_usable).collect())
            .unwrap_or_default(),
        mtu: options
            .get(MTU)
            .and_then(|it| it.first_chunk::<2>())
            .map(|mtu| u16::from_be_bytes(*mtu).into())
            .filter(|mtu| *mtu >= 576),
        seconds,
        renewal: number(RENEWAL_TIME).filter(|it| *it < seconds).unwrap_or(half).max(1),
    };
    match kind {
        2 => Some(Answer::Offer(terms)),
        5 => Some(Answer::Granted(terms)),
        _ => None,
    }
}

/// Returns what a server has sent to a client in a packet, if that is what it is. Checksums are not looked
/// at: what comes from this machine has none yet, and what comes from elsewhere has been checked.
fn datagram(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    let half = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk::<2>()?));
    let total = usize::from(half(2)?);
    // No part of one that was taken apart.
    let is_whole = half(6)? & 0x3fff == 0;
    if first >> 4 != 4 || header < IP_HEADER || !is_whole || *packet.get(9)? != UDP {
        return None;
    }
    let datagram = packet.get(header..total)?;
    let half = |at: usize| Some(u16::from_be_bytes(*datagram.get(at..)?.first_chunk::<2>()?));
    let is_answer = half(0)? == SERVER_PORT && half(2)? == CLIENT_PORT;
    is_answer.then(|| datagram.get(UDP_HEADER..usize::from(half(4)?)))?
}

/// Options of a message; one that comes several times is one that was taken apart (RFC 3396).
#[derive(Default)]
struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    fn read(message: &[u8]) -> Self {
        let mut options = Self::default();
        options.add(message.get(FIXED + COOKIE.len()..).unwrap_or_default());
        let more = options.get(OVERLOAD).and_then(|it| it.first().copied()).unwrap_or(0);
        for (bit, place) in [(1, FILE), (2, SERVER_NAME)] {
            if more & bit != 0 {
                options.add(message.get(place).unwrap_or_default());
            }
        }
        options
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while let Some((&code, rest)) = bytes.split_first() {
            bytes = match code {
                PAD => rest,
                END => return,
                _ => {
                    let Some((&length, rest)) = rest.split_first() else { return };
                    let Some((value, rest)) = rest.split_at_checked(length.into()) else { return };
                    match self.0.iter_mut().find(|(known, _)| *known == code) {
                        Some((_, known)) => known.extend(value),
                        None => self.0.push((code, value.to_vec())),
                    }
                    rest
                }
            };
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == code).map(|(_, value)| value.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [6, 0xbc, 1, 2, 3, 4];
    const XID: u32 = 0x0102_0304;

    fn who() -> Who {
        Who { mac: MAC, identity: [&[1][..], &MAC].concat(), hostname: "box".to_owned() }
    }

    /// Makes the answer of a server of what a client has sent.
    fn answer(options: &[&[u8]]) -> Vec<u8> {
        let mut packet = Question::Discover.packet(&who(), XID);
        packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
        let message = &mut packet[28..];
        message[0] = 2;
        message[16..20].copy_from_slice(&[10, 9, 0, 5]);
        packet.truncate(28 + FIXED + 4);
        packet.extend(options.concat());
        fix(&mut packet);
        packet
    }

    /// Writes the lengths as they are.
    fn fix(packet: &mut [u8]) {
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[24..26].copy_from_slice(&(length - 20).to_be_bytes());
    }

    const OFFER: &[&[u8]] = &[
        &[53, 1, 2],
        &[54, 4, 10, 9, 0, 1],
        &[51, 4, 0, 0, 0, 60],
        &[1, 4, 255, 255, 255, 0],
        &[0, 0],
        &[3, 8, 10, 9, 0, 1, 10, 9, 0, 2],
        &[6, 4, 10, 9, 0, 3],
        &[6, 4, 10, 9, 0, 4],
        &[26, 2, 5, 120],
        &[255],
    ];

    #[test]
    fn writes_questions_with_checksums() {
        for question in [
            Question::Discover,
            Question::Request([10, 9, 0, 5].into(), [10, 9, 0, 1].into()),
            Question::Renew([10, 9, 0, 5].into()),
            Question::Release([10, 9, 0, 5].into(), [10, 9, 0, 1].into()),
        ] {
            let packet = question.packet(&who(), XID);
            // What is right adds up to all ones, with its checksum.
            assert_eq!(checksum(&packet[..20], 0), 0, "{question:?}");
            let pseudo = [&packet[12..20], &[0, UDP], &packet[24..26]].concat();
            assert_eq!(checksum(&packet[20..], sum_of(&pseudo)), 0, "{question:?}");
            assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
            assert_eq!(&packet[28 + FIXED..28 + FIXED + 4], COOKIE);
            assert!(parse(&packet, &who(), XID).is_none(), "it is no answer");
        }
    }

    #[test]
    fn reads_answers() {
        let Some(Answer::Offer(terms)) = parse(&answer(OFFER), &who(), XID) else {
            panic!("it is an offer");
        };
        assert_eq!(
            terms,
            Terms {
                address: [10, 9, 0, 5].into(),
                prefix: 24,
                server: [10, 9, 0, 1].into(),
                router: Some([10, 9, 0, 1].into()),
                name_servers: vec![[10, 9, 0, 3].into(), [10, 9, 0, 4].into()],
                mtu: Some(1400),
                seconds: 60,
                renewal: 30,
            }
        );
        // The file holds options.
        let mut overloaded = answer(&[&[53, 1, 5], &[52, 1, 1], &[54, 4, 10, 9, 0, 1], &[255]]);
        overloaded[28 + 108..28 + 108 + 7].copy_from_slice(&[51, 4, 0, 0, 0, 8, 255]);
        let Some(Answer::Granted(terms)) = parse(&overloaded, &who(), XID) else {
            panic!("it is a grant");
        };
        assert_eq!((terms.seconds, terms.renewal, terms.prefix), (8, 4, 8));
        let refusal = answer(&[&[53, 1, 6], &[255]]);
        assert_eq!(parse(&refusal, &who(), XID), Some(Answer::Refused));
    }

    #[test]
    fn leaves_what_is_not_for_it() {
        let good = answer(OFFER);
        assert!(parse(&good, &who(), XID + 1).is_none());
        assert!(parse(&good, &Who { mac: [0; 6], ..who() }, XID).is_none());
        let without = |code: u8| {
            let kept: Vec<&[u8]> = OFFER.iter().copied().filter(|it| it[0] != code).collect();
            answer(&kept)
        };
        for code in [KIND, SERVER, LEASE_TIME] {
            assert!(parse(&without(code), &who(), XID).is_none(), "{code}");
        }
        for (at, value) in [
            (0, 0x65),      // not version 4
            (0, 0x44),      // a header that is too short
            (3, 0),         // a length that is too short
            (6, 0x20),      // a part of a packet
            (9, 6),         // TCP
            (21, 68),       // from a client
            (23, 67),       // to a server
            (28, 1),        // a question
            (28 + 236, 0),  // no cookie
            (28 + 16, 224), // for many
            (28 + 16, 127), // for nobody
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(parse(&bad, &who(), XID).is_none(), "{at}: {value}");
        }
        let mut holes = OFFER.to_vec();
        holes[3] = &[1, 4, 255, 0, 255, 0];
        assert!(parse(&answer(&holes), &who(), XID).is_none());
    }

    #[test]
    fn survives_whatever_it_is_sent() {
        let good = answer(OFFER);
        for end in 0..=good.len() {
            let mut short = good[..end].to_vec();
            drop(parse(&short, &who(), XID));
            if end > 28 {
                // With lengths that are right, so that what is inside is looked at.
                fix(&mut short);
                drop(parse(&short, &who(), XID));
            }
        }
        // A fixed sequence of numbers that looks like chance.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let mut bad = good.clone();
            for _ in 0..=next() % 8 {
                let at = next() as usize % bad.len();
                bad[at] = next() as u8;
            }
            if next() % 2 == 0 {
                bad.truncate(next() as usize % bad.len());
            }
            if let Some(Answer::Offer(terms) | Answer::Granted(terms)) = parse(&bad, &who(), XID) {
                assert!(terms.prefix <= 32 && terms.renewal <= terms.seconds, "{terms:?}");
                assert!(!terms.address.is_unspecified());
            }
        }
    }
}
