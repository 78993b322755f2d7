//! Docker's firewall, where it is: it lets nothing pass this machine that is not its own.
//!
//! It has a chain for the rules of others, and leaves that alone. Ours say there that what comes from our
//! bridges, and what goes to them, may pass; who may reach whom is decided by our own table all the same.
//! They are written as `iptables` writes its rules, which could not read the table otherwise, and are told
//! from others by what they carry as a comment.

use std::io;

use netlink_packet_core::NlasIterator;

use super::ground::Ground;
use super::nft::{self, Transaction};
use super::rule::{End, Rule};
use crate::error::{Context, Result};
use crate::sys::netlink::Socket;

/// The table, in each of the families, and the chain in it.
const TABLE: &str = "filter";
const CHAIN: &str = "DOCKER-USER";

/// A rule that is there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Present {
    handle: u64,
    comment: String,
}

/// Lets packets pass Docker's firewall that come from these bridges, or go to them, and no others any more
/// that we have let pass for our table of this name.
pub(super) fn admit(ground: &Ground, table: &str, bridges: &[&str]) -> Result<()> {
    if ground.netns().is_some() || ground.is_gone() {
        // Docker is not there.
        return Ok(());
    }
    let context = || format!("cannot add rules to chain `{CHAIN}` of Docker's firewall");
    let mut socket = ground.firewall().context(context)?;
    for family in [nft::IPV4, nft::IPV6] {
        let Some(present) = rules(&mut socket, family).context(context)? else { continue };
        if is_settled(&present, table, bridges) {
            continue;
        }
        let mut transaction = Transaction::of(family, TABLE);
        for rule in present.iter().filter(|it| is_ours(it, table)) {
            transaction.delete_rule(CHAIN, rule.handle);
        }
        // The last one leaves the chain; what an administrator has put before it counts first.
        let last = present.iter().rfind(|it| !is_ours(it, table)).map(|it| it.handle);
        for bridge in bridges {
            for end in [End::Source, End::Destination] {
                let rule = Rule::default().interface_of_iptables(end, bridge).counted().accept();
                transaction.insert_rule(CHAIN, rule, last, &comment(table, bridge, end));
            }
        }
        transaction.commit(&mut socket).map_err(|refused| refused.error).context(context)?;
    }
    Ok(())
}

/// Tells whether what is to pass Docker's firewall, if that is here, passes.
pub(super) fn is_admitted(ground: &Ground, table: &str, bridges: &[&str]) -> io::Result<bool> {
    if ground.netns().is_some() || ground.is_gone() {
        return Ok(true);
    }
    let mut socket = ground.firewall()?;
    for family in [nft::IPV4, nft::IPV6] {
        let present = rules(&mut socket, family)?;
        if present.is_some_and(|present| !is_settled(&present, table, bridges)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_settled(present: &[Present], table: &str, bridges: &[&str]) -> bool {
    let mut own: Vec<&str> = present.iter().map(|it| it.comment.as_str()).collect();
    own.retain(|it| it.starts_with(&mark(table)));
    let both =
        |bridge: &&str| [End::Source, End::Destination].map(|end| comment(table, bridge, end));
    let mut wanted: Vec<String> = bridges.iter().flat_map(both).collect();
    own.sort_unstable();
    wanted.sort_unstable();
    own == wanted
}

fn is_ours(rule: &Present, table: &str) -> bool {
    rule.comment.starts_with(&mark(table))
}

fn mark(table: &str) -> String {
    format!("{table}: ")
}

fn comment(table: &str, bridge: &str, end: End) -> String {
    let way = match end {
        End::Source => "from",
        End::Destination => "to",
    };
    format!("{}{way} {bridge}", mark(table))
}

/// Returns the rules of the chain, in order; `None` if there is no such chain.
fn rules(socket: &mut Socket, family: u8) -> io::Result<Option<Vec<Present>>> {
    if nft::find_chain(socket, family, TABLE, CHAIN)?.is_none() {
        return Ok(None);
    }
    let mut present = Vec::new();
    nft::each_rule(socket, family, TABLE, CHAIN, |attributes| present.push(read(attributes)))?;
    Ok(Some(present))
}

/// Reads a rule's number and its comment, if it has one.
fn read(attributes: &[u8]) -> Present {
    let mut rule = Present::default();
    for attribute in NlasIterator::new(attributes).map_while(Result::ok) {
        let value = attribute.value();
        match attribute.kind() {
            nft::RULE_HANDLE => {
                rule.handle = value.try_into().map(u64::from_be_bytes).unwrap_or_default();
            }
            nft::RULE_NOTE => rule.comment = nft::comment_in(value).unwrap_or_default(),
            _ => {}
        }
    }
    rule
}

/// Makes the attributes of a rule as the kernel shows them, for tests.
#[cfg(test)]
fn shown(handle: u64, comment: &str) -> nft::Attributes {
    nft::Attributes::default()
        .text(1, TABLE)
        .bytes(nft::RULE_HANDLE, &handle.to_be_bytes())
        .bytes(nft::RULE_NOTE, &nft::note(comment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_rules() {
        let read = |handle, comment: &str| read(shown(handle, comment).as_bytes());
        let others = read(7, "barge0x: to a");
        assert_eq!(others, Present { handle: 7, comment: "barge0x: to a".to_owned() });
        assert_eq!(super::read(&[1, 2, 3]), Present::default());
        let mut present = vec![others, read(8, "barge0: from a")];
        assert!(!is_settled(&present, "barge0", &["a"]));
        assert!(!is_settled(&present, "barge0", &[]));
        present.push(read(9, "barge0: to a"));
        assert!(is_settled(&present, "barge0", &["a"]));
        assert!(!is_settled(&present, "barge0", &["a", "b"]));
        assert!(is_settled(&present, "barge-1", &[]));
    }
}
