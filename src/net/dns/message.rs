//! The language of name servers: enough of RFC 1035 and RFC 6891 to answer for containers, and to
//! hand everything else on as it is.
//!
//! What comes in was written by anybody. Nothing here trusts a length, follows a pointer in a question,
//! or allocates by a number that it was told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a message begins with.
const HEADER: usize = 12;
/// The longest name, with the lengths of its labels and the final zero.
const LONGEST_NAME: usize = 255;
/// How long an answer may be where nobody has said that it may be longer.
const USUAL_SIZE: usize = 512;
/// How long others may remember an answer, in seconds: containers come and go.
const LIFETIME: u32 = 0;

/// Flags of the third byte.
const IS_ANSWER: u8 = 0x80;
const IS_TRUNCATED: u8 = 0x02;
const WANTS_RECURSION: u8 = 0x01;
/// The flag of the fourth byte that says that others are asked, too.
const OFFERS_RECURSION: u8 = 0x80;

const CLASS_IN: u16 = 1;
const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
const TYPE_ANY: u16 = 255;

/// How an answer says what came of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Here is what there is, if anything.
    Fine = 0,
    /// The question makes no sense.
    Malformed = 1,
    /// It cannot be answered now.
    Failed = 2,
    /// There is no such name.
    NoName = 3,
    /// Nothing is known of such questions.
    Unknown = 4,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// Addresses of both kinds.
    Any,
    /// Names of an address.
    Names,
    /// Something else.
    Other,
}

/// A question that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// The name in lower case, with dots between labels and none at its end.
    pub(super) name: String,
    /// What is asked for.
    pub(super) wanted: Wanted,
    /// How long an answer by datagram may be.
    pub(super) size: usize,
    /// Whether it has an OPT record, and gets one.
    extended: bool,
    /// The identifier and the flags.
    head: [u8; 4],
    /// The question as it came.
    question: Vec<u8>,
}

/// One thing that is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// An address of the name.
    Address(IpAddr),
    /// A name of the address.
    Name(String),
}

/// Reads a query. `Err(None)` is not to be answered at all, `Err(Some(…))` is the answer to what
/// cannot be read.
pub(super) fn parse(message: &[u8]) -> Result<Query, Option<Vec<u8>>> {
    let Some(header) = message.first_chunk::<HEADER>() else { return Err(None) };
    // What claims to be an answer would make two servers answer each other for ever.
    if header[2] & IS_ANSWER != 0 {
        return Err(None);
    }
    let refuse = |outcome| {
        let mut answer = header.to_vec();
        answer[2] |= IS_ANSWER;
        answer[3] = OFFERS_RECURSION | outcome as u8;
        answer[4..].fill(0);
        Err(Some(answer))
    };
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if header[2] & 0x78 != 0 {
        return refuse(Outcome::Unknown);
    }
    if count(4) != 1 {
        return refuse(Outcome::Malformed);
    }
    let Some((name, length)) = name(&message[HEADER..]) else {
        return refuse(Outcome::Malformed);
    };
    let end = HEADER + length + 4;
    let Some(tail) = message.get(HEADER + length..end) else {
        return refuse(Outcome::Malformed);
    };
    let kind = u16::from_be_bytes([tail[0], tail[1]]);
    let class = u16::from_be_bytes([tail[2], tail[3]]);
    let wanted = match kind {
        _ if class != CLASS_IN => Wanted::Other,
        TYPE_A => Wanted::Ipv4,
        TYPE_AAAA => Wanted::Ipv6,
        TYPE_ANY => Wanted::Any,
        TYPE_PTR => Wanted::Names,
        _ => Wanted::Other,
    };
    let plain = count(6) == 0 && count(8) == 0;
    let opt = (plain && count(10) > 0).then(|| offered_size(&message[end..])).flatten();
    Ok(Query {
        name,
        wanted,
        size: opt.map_or(USUAL_SIZE, |size| usize::from(size).max(USUAL_SIZE)),
        extended: opt.is_some(),
        head: [header[0], header[1], header[2], header[3]],
        question: message[HEADER..end].to_vec(),
    })
}

/// Reads a name without pointers: its text, and how many bytes it takes.
///
/// A byte that has no place in a host name becomes one that matches none.
fn name(bytes: &[u8]) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((text, at));
        }
        // The two highest bits would make it a pointer.
        let label = bytes.get(at..at + length).filter(|_| length < 64)?;
        at += length;
        if at >= LONGEST_NAME {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'.' && byte != b'/';
        text.extend(label.iter().map(|byte| match is_plain(*byte) {
            true => char::from(byte.to_ascii_lowercase()),
            false => '?',
        }));
    }
}

/// Reads the size that an OPT record, the first of what follows the question, offers.
fn offered_size(bytes: &[u8]) -> Option<u16> {
    let [0, high, low, size_high, size_low, ..] = bytes else { return None };
    let is_opt = u16::from_be_bytes([*high, *low]) == TYPE_OPT;
    is_opt.then_some(u16::from_be_bytes([*size_high, *size_low]))
}

impl Query {
    /// Writes the answer; with `limit`, one that does not fit says so and has no records.
    pub(super) fn answer(
        &self,
        outcome: Outcome,
        records: &[Record],
        limit: Option<usize>,
    ) -> Vec<u8> {
        let mut body = Vec::new();
        let mut count = 0_u16;
        for record in records {
            let (kind, data) = match record {
                Record::Address(IpAddr::V4(address)) => (TYPE_A, address.octets().to_vec()),
                Record::Address(IpAddr::V6(address)) => (TYPE_AAAA, address.octets().to_vec()),
                Record::Name(name) => match encode(name) {
                    Some(data) => (TYPE_PTR, data),
                    None => continue,
                },
            };
            // A pointer to the name in the question.
            body.extend_from_slice(&[0xc0, HEADER as u8]);
            body.extend_from_slice(&kind.to_be_bytes());
            body.extend_from_slice(&CLASS_IN.to_be_bytes());
            body.extend_from_slice(&LIFETIME.to_be_bytes());
            body.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
            body.extend_from_slice(&data);
            count += 1;
        }
        // The root's name, the type, the size that we take, no further flags, no data.
        let opt: &[u8] = match self.extended {
            true => &[0, 0, TYPE_OPT as u8, 0x10, 0, 0, 0, 0, 0, 0, 0],
            false => &[],
        };
        let length = HEADER + self.question.len() + body.len() + opt.len();
        let fits = limit.is_none_or(|limit| length <= limit);
        if !fits {
            (count, body) = (0, Vec::new());
        }
        let mut answer = Vec::with_capacity(length);
        answer.extend_from_slice(&self.head[..2]);
        let truncated = if fits { 0 } else { IS_TRUNCATED };
        answer.push(IS_ANSWER | self.head[2] & WANTS_RECURSION | truncated);
        answer.push(OFFERS_RECURSION | outcome as u8);
        answer.extend_from_slice(&1_u16.to_be_bytes());
        answer.extend_from_slice(&count.to_be_bytes());
        answer.extend_from_slice(&0_u16.to_be_bytes());
        answer.extend_from_slice(&u16::from(self.extended).to_be_bytes());
        answer.extend_from_slice(&self.question);
        answer.extend_from_slice(&body);
        answer.extend_from_slice(opt);
        answer
    }

    /// Tells whether a message is an answer to this question that was asked under another identifier.
    pub(super) fn is_answered_by(&self, id: [u8; 2], message: &[u8]) -> bool {
        let Some(header) = message.first_chunk::<HEADER>() else { return false };
        let question = message.get(HEADER..HEADER + self.question.len());
        header[..2] == id
            && header[2] & IS_ANSWER != 0
            && header[4..6] == [0, 1]
            // Some servers mix capitals in, which others have to give back as they are.
            && question.is_some_and(|it| it.eq_ignore_ascii_case(&self.question))
    }

    /// Returns the identifier.
    pub(super) fn id(&self) -> [u8; 2] {
        [self.head[0], self.head[1]]
    }

    /// Returns the address that the names of are asked for, where the name is of that kind.
    pub(super) fn reversed(&self) -> Option<IpAddr> {
        if let Some(digits) = self.name.strip_suffix(".in-addr.arpa") {
            let mut bytes = [0; 4];
            let mut labels = digits.split('.');
            for byte in bytes.iter_mut().rev() {
                *byte = labels.next()?.parse().ok()?;
            }
            return labels.next().is_none().then_some(Ipv4Addr::from(bytes).into());
        }
        let digits = self.name.strip_suffix(".ip6.arpa")?;
        let mut bits = 0_u128;
        let mut labels = 0;
        for label in digits.split('.') {
            let digit = u8::from_str_radix(label, 16).ok().filter(|_| label.len() == 1)?;
            bits = bits >> 4 | u128::from(digit) << 124;
            labels += 1;
        }
        (labels == 32).then_some(Ipv6Addr::from(bits).into())
    }
}

/// Writes a name by its labels; `None` if it is none.
fn encode(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|it| (1..64).contains(it))?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    (bytes.len() <= LONGEST_NAME).then_some(bytes)
}

#[cfg(test)]
pub(super) fn query(name: &str, kind: u16, size: Option<u16>) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(size.is_some())];
    message.extend(if name.is_empty() { vec![0] } else { encode(name).unwrap() });
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    if let Some(size) = size {
        message.extend_from_slice(&[0, 0, 41]);
        message.extend_from_slice(&size.to_be_bytes());
        message.extend_from_slice(&[0; 6]);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_questions() {
        for (name, kind, size, want) in [
            ("Web", 1, None, ("web", Wanted::Ipv4, 512)),
            ("a.b-c", 28, Some(1232), ("a.b-c", Wanted::Ipv6, 1232)),
            ("a", 255, Some(100), ("a", Wanted::Any, 512)),
            ("a/b", 33, None, ("a?b", Wanted::Other, 512)),
            ("", 2, None, ("", Wanted::Other, 512)),
        ] {
            let query = parse(&query(name, kind, size)).unwrap();
            assert_eq!((query.name.as_str(), query.wanted, query.size), want);
        }
    }

    #[test]
    fn answers_what_was_asked() {
        let question = parse(&query("web", 1, Some(1232))).unwrap();
        let records = [Record::Address("10.1.2.3".parse().unwrap())];
        let answer = question.answer(Outcome::Fine, &records, Some(question.size));
        let mut want = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1];
        want.extend_from_slice(
            b"\x03web\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x0a\x01\x02\x03",
        );
        want.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer, want);
        assert!(question.is_answered_by([0x12, 0x34], &answer));
        assert!(!question.is_answered_by([0x12, 0x35], &answer));
        let other = parse(&query("wab", 1, None)).unwrap();
        assert!(!other.is_answered_by([0x12, 0x34], &answer));
        // Too many for a datagram: the asker comes again by TCP.
        let many = vec![records[0].clone(); 100];
        let short = question.answer(Outcome::Fine, &many, Some(512));
        assert_eq!((short[2] & 2, short[7], short.len()), (2, 0, 12 + 9 + 11));
        assert_eq!(question.answer(Outcome::Fine, &many, None)[7], 100);
    }

    #[test]
    fn turns_addresses_round() {
        for (name, want) in [
            ("3.2.1.10.in-addr.arpa", Some("10.1.2.3")),
            ("2.1.10.in-addr.arpa", None),
            ("4.3.2.1.10.in-addr.arpa", None),
            ("x.2.1.10.in-addr.arpa", None),
            (
                "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
                Some("fd00::9"),
            ),
            ("9.0.0.0.ip6.arpa", None),
            ("web", None),
        ] {
            let query = parse(&query(name, 12, None)).unwrap();
            assert_eq!(query.reversed().map(|it| it.to_string()).as_deref(), want, "{name}");
        }
    }

    #[test]
    fn survives_anything() {
        let good = query("web.example", 1, Some(1232));
        // Cut anywhere, and with any byte changed to any other of some.
        for length in 0..good.len() {
            let _whatever = parse(&good[..length]);
            for value in [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
                let mut bad = good.clone();
                bad[length] = value;
                if let Ok(query) = parse(&bad) {
                    let _whatever = (query.reversed(), query.answer(Outcome::NoName, &[], None));
                }
            }
        }
        for (bytes, why) in
            [(&good[..11], "no header"), (&[&[0, 0, 0x80, 0], &good[4..]].concat(), "an answer")]
        {
            assert_eq!(parse(bytes), Err(None), "{why}");
        }
        let pointer = [&good[..12], &[0xc0, 0x0c, 0, 1, 0, 1]].concat();
        let long = [&good[..12], &[1, b'a'].repeat(200), &[0, 0, 1, 0, 1][..]].concat();
        let two = [&good[..4], &[0, 2], &good[6..]].concat();
        for bytes in [pointer, long, two] {
            assert_eq!(parse(&bytes).unwrap_err().unwrap()[3] & 15, Outcome::Malformed as u8);
        }
    }
}
