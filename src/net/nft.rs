//! The language of the kernel's firewall, nf_tables: transactions of tables, chains, maps and rules.
//!
//! Only what our own table needs. All numbers are big-endian, those that a rule compares are in the
//! order in which the kernel keeps what they are compared with.

use std::io;
use std::os::fd::BorrowedFd;

use netlink_packet_core::NlasIterator;

use crate::sys::netlink::{Changes, Protocol, Refused, Socket, append, flags};

/// The address family of our table: both versions of IP.
const INET: u8 = 1;
/// Those of tables of others.
pub(super) const IPV4: u8 = 2;
pub(super) const IPV6: u8 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NESTED: u16 = 0x8000;

// Kinds of messages.
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;
const DELETE_OBJECT: u16 = 20;
const DELETE_FLOWTABLE: u16 = 24;

/// The kind of set that has a value for each key.
const SET_IS_MAP: u32 = 0x8;
/// Where a comment is in the data that the kernel keeps for its users.
const COMMENT: u8 = 0;
/// Where tables and chains have their numbers.
const TABLE_HANDLE: u16 = 4;
const CHAIN_HANDLE: u16 = 2;
/// Where a rule has its number, and such data.
pub(super) const RULE_HANDLE: u16 = 3;
/// Where it has its chain, and what it consists of.
pub(super) const RULE_CHAIN: u16 = 2;
pub(super) const RULE_EXPRESSIONS: u16 = 4;
const RULE_POSITION: u16 = 6;
pub(super) const RULE_NOTE: u16 = 7;
/// Elements in one message: all of them together must fit into one attribute of 64 KiB.
const ELEMENTS_AT_ONCE: usize = 400;

/// A list of netlink attributes.
#[derive(Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nested(self, kind: u16, value: Self) -> Self {
        self.bytes(kind | NESTED, &value.0)
    }

    #[cfg(test)]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Where a chain hangs.
#[derive(Clone, Copy)]
pub(super) struct Hook {
    /// What its rules may do: `filter` or `nat`.
    pub(super) kind: &'static str,
    /// Number of the hook: 0 arriving, 2 forwarded, 3 from here, 4 leaving.
    pub(super) number: u32,
    /// Lower numbers see packets earlier.
    pub(super) priority: i32,
}

/// A map from concatenated keys to concatenated values.
#[derive(Clone, Copy)]
pub(super) struct Map {
    pub(super) name: &'static str,
    pub(super) key: &'static [Field],
    pub(super) value: &'static [Field],
}

/// One part of a concatenation. Each takes four bytes.
#[derive(Clone, Copy)]
pub(super) enum Field {
    /// An IPv4 address.
    Address = 7,
    /// The number of a transport protocol.
    Protocol = 12,
    /// A port.
    Port = 13,
}

/// One entry of a map.
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    /// Not needed for removal.
    pub(super) value: Vec<u8>,
    /// Whose it is, for those who read the tables.
    pub(super) comment: String,
}

/// A transaction on one table: done as a whole or not at all.
pub(super) struct Transaction<'a> {
    family: u8,
    table: &'a str,
    messages: Vec<u8>,
    last: u32,
    rules: usize,
}

impl<'a> Transaction<'a> {
    /// Begins one on a table of ours.
    pub(super) fn on(table: &'a str) -> Self {
        Self::of(INET, table)
    }

    /// Begins one on a table of this family.
    pub(super) fn of(family: u8, table: &'a str) -> Self {
        let mut transaction = Self { family, table, messages: Vec::new(), last: 0, rules: 0 };
        transaction.bracket(BATCH_BEGIN);
        transaction
    }

    /// Makes the table if it is not there.
    pub(super) fn add_table(&mut self) {
        self.add(NEW_TABLE, flags::CREATE, Attributes::default().text(1, self.table));
    }

    /// Removes the table with all that is in it.
    pub(super) fn delete_table(&mut self) {
        self.add(DELETE_TABLE, 0, Attributes::default().text(1, self.table));
    }

    /// Makes a chain; it accepts what none of its rules decides.
    pub(super) fn add_chain(&mut self, name: &str, hook: Option<Hook>) {
        let mut chain = Attributes::default().text(1, self.table).text(3, name);
        if let Some(hook) = hook {
            let place = Attributes::default()
                .number(1, hook.number)
                .number(2, hook.priority.cast_unsigned());
            chain = chain.nested(4, place).text(7, hook.kind);
        }
        self.add(NEW_CHAIN, flags::CREATE, chain);
    }

    /// Makes a map.
    pub(super) fn add_map(&mut self, map: Map) {
        let length = |fields: &[Field]| fields.len() as u32 * 4;
        let set = Attributes::default()
            .text(1, self.table)
            .text(2, map.name)
            .number(3, SET_IS_MAP)
            .number(4, concatenation(map.key))
            .number(5, length(map.key))
            .number(6, concatenation(map.value))
            .number(7, length(map.value))
            // Anything that is unique within the transaction.
            .number(10, self.last);
        self.add(NEW_SET, flags::CREATE, set);
    }

    /// Appends a rule to a chain.
    pub(super) fn add_rule(&mut self, chain: &str, expressions: Attributes) {
        self.rules += 1;
        let rule = Attributes::default().text(1, self.table).text(2, chain).nested(4, expressions);
        self.add(NEW_RULE, flags::CREATE | flags::APPEND, rule);
    }

    /// Puts a rule into a chain, before the one of that number or at the end, with a comment.
    pub(super) fn insert_rule(
        &mut self,
        chain: &str,
        expressions: Attributes,
        before: Option<u64>,
        comment: &str,
    ) {
        let rule = Attributes::default().text(1, self.table).text(2, chain).nested(4, expressions);
        let mut rule = rule.bytes(RULE_NOTE, &note(comment));
        let place = match before {
            Some(handle) => {
                rule = rule.bytes(RULE_POSITION, &handle.to_be_bytes());
                0
            }
            None => flags::APPEND,
        };
        self.add(NEW_RULE, flags::CREATE | place, rule);
    }

    /// Takes the rule of this number out of a chain.
    pub(super) fn delete_rule(&mut self, chain: &str, handle: u64) {
        let rule = Attributes::default().text(1, self.table).text(2, chain);
        self.add(DELETE_RULE, 0, rule.bytes(RULE_HANDLE, &handle.to_be_bytes()));
    }

    /// Puts elements into a map.
    pub(super) fn add_elements(&mut self, map: Map, elements: &[Element]) {
        self.elements(NEW_ELEMENTS, flags::CREATE, map, elements, |element| {
            let value = Attributes::default().bytes(1, &element.value);
            key(element).nested(2, value).bytes(6, &note(&element.comment))
        });
    }

    /// Takes elements out of a map; all of them must be in it.
    pub(super) fn delete_elements(&mut self, map: Map, elements: &[Element]) {
        self.elements(DELETE_ELEMENTS, 0, map, elements, key);
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        map: Map,
        elements: &[Element],
        encode: impl Fn(&Element) -> Attributes,
    ) {
        for some in elements.chunks(ELEMENTS_AT_ONCE) {
            let list = some
                .iter()
                .fold(Attributes::default(), |list, element| list.nested(1, encode(element)));
            let message =
                Attributes::default().text(1, self.table).text(2, map.name).nested(3, list);
            self.add(kind, flags, message);
        }
    }

    /// Returns how many rules it adds.
    pub(super) fn rules(&self) -> usize {
        self.rules
    }

    /// Tells whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.last <= 1
    }

    /// Hands the transaction to the kernel.
    pub(super) fn commit(mut self, socket: &mut Socket) -> Result<(), Refused> {
        let last = self.last;
        self.bracket(BATCH_END);
        socket.transact(&self.messages, 1, last)
    }

    fn add(&mut self, kind: u16, extra: u16, attributes: Attributes) {
        self.last += 1;
        let payload = [header(self.family, 0).as_slice(), &attributes.0].concat();
        let flags = flags::REQUEST | flags::ACK | extra;
        append(&mut self.messages, SUBSYSTEM << 8 | kind, flags, self.last, &payload);
    }

    fn bracket(&mut self, kind: u16) {
        self.last += 1;
        append(&mut self.messages, kind, flags::REQUEST, self.last, &header(0, SUBSYSTEM));
    }
}

/// Makes the data for users of the firewall that are a comment.
pub(super) fn note(comment: &str) -> Vec<u8> {
    let comment = comment.as_bytes();
    let mut note = vec![COMMENT, u8::try_from(comment.len() + 1).unwrap_or(1)];
    note.extend_from_slice(comment);
    note.push(0);
    note
}

/// Returns the comment in such data.
pub(super) fn comment_in(mut note: &[u8]) -> Option<String> {
    loop {
        let (&[kind, length], rest) = note.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(length.into())?;
        if kind == COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        note = rest;
    }
}

fn key(element: &Element) -> Attributes {
    Attributes::default().nested(1, Attributes::default().bytes(1, &element.key))
}

/// Returns the number by which `nft` knows the type of a concatenation.
fn concatenation(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |number, field| number << 6 | *field as u32)
}

/// What all netfilter messages begin with.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// Opens the firewall of the caller's network namespace.
pub(super) fn open() -> io::Result<Socket> {
    Socket::open(Protocol::Netfilter)
}

/// Opens the firewall of another network namespace.
pub(super) fn open_in(netns: BorrowedFd<'_>) -> io::Result<Socket> {
    Socket::open_in(netns, Protocol::Netfilter)
}

/// Hears of what is taken out of the firewall of the caller's network namespace, or of another one, and of
/// tables that are put there. Elements that come and go are of no interest.
pub(super) fn changes(netns: Option<BorrowedFd<'_>>) -> io::Result<Changes> {
    let kinds = [
        NEW_TABLE,
        DELETE_TABLE,
        DELETE_CHAIN,
        DELETE_RULE,
        DELETE_SET,
        DELETE_OBJECT,
        DELETE_FLOWTABLE,
    ];
    Changes::of_firewall(netns, &kinds.map(|kind| SUBSYSTEM << 8 | kind))
}

/// Returns the number of a table of ours, or of another one of both versions of IP: one that is made anew
/// has another number. `None` if it is not there.
pub(super) fn find_table(socket: &mut Socket, table: &str) -> io::Result<Option<u64>> {
    let attributes = Attributes::default().text(1, table);
    find(socket, GET_TABLE, TABLE_HANDLE, INET, &attributes)
}

/// Returns the number of a chain, as [`find_table`].
pub(super) fn find_chain(
    socket: &mut Socket,
    family: u8,
    table: &str,
    chain: &str,
) -> io::Result<Option<u64>> {
    let attributes = Attributes::default().text(1, table).text(3, chain);
    match find(socket, GET_CHAIN, CHAIN_HANDLE, family, &attributes) {
        // A kernel without this family.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        other => other,
    }
}

/// Asks for one object, and returns which number is in its attribute `handle`.
fn find(
    socket: &mut Socket,
    kind: u16,
    handle: u16,
    family: u8,
    attributes: &Attributes,
) -> io::Result<Option<u64>> {
    let payload = [header(family, 0).as_slice(), &attributes.0].concat();
    let mut number = 0;
    let asked = socket.request(SUBSYSTEM << 8 | kind, 0, &payload, |_, payload| {
        let attributes = payload.get(header(0, 0).len()..).unwrap_or_default();
        let mut attributes = NlasIterator::new(attributes).map_while(Result::ok);
        let value = attributes.find(|it| it.kind() == handle).map(|it| it.value().try_into());
        number = value.and_then(Result::ok).map(u64::from_be_bytes).unwrap_or_default();
    });
    match asked {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        other => other.map(|()| Some(number)),
    }
}

/// Counts the rules of a table; none of one that is not there.
pub(super) fn count_rules(socket: &mut Socket, table: &str) -> io::Result<usize> {
    let attributes = Attributes::default().text(1, table);
    let payload = [header(INET, 0).as_slice(), &attributes.0].concat();
    let mut count = 0;
    let asked = socket.request(SUBSYSTEM << 8 | GET_RULE, flags::DUMP, &payload, |_, _| count += 1);
    match asked {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(0),
        other => other.map(|()| count),
    }
}

/// Gives the attributes of each rule of a table, those of a chain in order.
pub(super) fn each_rule(
    socket: &mut Socket,
    family: u8,
    table: &str,
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    let attributes = Attributes::default().text(1, table);
    let payload = [header(family, 0).as_slice(), &attributes.0].concat();
    socket.request(SUBSYSTEM << 8 | GET_RULE, flags::DUMP, &payload, |_, payload| {
        each(payload.get(header(0, 0).len()..).unwrap_or_default());
    })
}
