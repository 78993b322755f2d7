//! Docker's firewall, where it is: it lets nothing pass this machine that is not its own.
//!
//! It has a chain for the rules of others, and leaves that alone. Ours say there that what comes from our
//! bridges, and what goes to them, may pass; who may reach whom is decided by our own table all the same.
//! What is between a bridge of ours and one of Docker's is left to Docker: which those are is in its own
//! rules. Whatever it changes, it puts the way to this chain anew, which is heard.
//!
//! They are written as `iptables` writes its rules, which could not read the table otherwise, and are told
//! from others by what they carry as a comment.

use std::collections::BTreeSet;
use std::io;

use super::ground::Ground;
use super::nft::{self, Transaction};
use super::rule::{self, End, Read, Rule};
use crate::error::{Context, Result};
use crate::sys::netlink::Socket;

/// The table, in each of the families, and the chain in it.
const TABLE: &str = "filter";
const CHAIN: &str = "DOCKER-USER";
/// What the names of all its chains begin with.
const CHAINS: &str = "DOCKER";

/// What is there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Present {
    /// The rules of the chain, in order.
    rules: Vec<Read>,
    /// Docker's own bridges.
    bridges: BTreeSet<String>,
}

/// A rule of ours.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// What comes from a bridge, or goes there, may pass.
    Pass(End, &'a str),
    /// What comes from one and goes to the other is left to others.
    Leave(&'a str, &'a str),
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
        let Some(present) = present(&mut socket, family).context(context)? else { continue };
        if present.is_settled(table, bridges) {
            continue;
        }
        let mut transaction = Transaction::of(family, TABLE);
        for rule in present.rules.iter().filter(|it| is_ours(it, table)) {
            transaction.delete_rule(CHAIN, rule.handle);
        }
        // What an administrator has put there counts first; some of Docker's versions leave the chain by a
        // rule at its end.
        let last = present.rules.iter().rfind(|it| !is_ours(it, table));
        let before = last.filter(|it| it.only_leaves).map(|it| it.handle);
        for wanted in present.wanted(bridges) {
            transaction.insert_rule(CHAIN, wanted.rule(), before, &wanted.comment(table));
        }
        transaction.commit(&mut socket).map_err(|refused| refused.error).context(context)?;
    }
    Ok(())
}

/// Tells whether what is to pass Docker's firewall, if that is here, passes, and nothing else.
pub(super) fn is_admitted(ground: &Ground, table: &str, bridges: &[&str]) -> io::Result<bool> {
    if ground.netns().is_some() || ground.is_gone() {
        return Ok(true);
    }
    let mut socket = ground.firewall()?;
    for family in [nft::IPV4, nft::IPV6] {
        let present = present(&mut socket, family)?;
        if present.is_some_and(|present| !present.is_settled(table, bridges)) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Present {
    fn is_settled(&self, table: &str, bridges: &[&str]) -> bool {
        let mut own: Vec<&str> = self.rules.iter().map(|it| it.comment.as_str()).collect();
        own.retain(|it| it.starts_with(&mark(table)));
        let wanted: Vec<_> = self.wanted(bridges).iter().map(|it| it.comment(table)).collect();
        own == wanted
    }

    /// Decides which rules there are to be, in order.
    fn wanted<'a>(&'a self, bridges: &[&'a str]) -> Vec<Wanted<'a>> {
        let mut wanted = Vec::new();
        for own in bridges {
            for other in &self.bridges {
                wanted.extend([Wanted::Leave(own, other), Wanted::Leave(other, own)]);
            }
        }
        for own in bridges {
            wanted.extend([End::Source, End::Destination].map(|end| Wanted::Pass(end, own)));
        }
        wanted
    }
}

impl Wanted<'_> {
    fn rule(self) -> nft::Attributes {
        match self {
            Self::Pass(end, bridge) => {
                Rule::default().interface_of_iptables(end, bridge).counted().accept()
            }
            Self::Leave(from, to) => Rule::default()
                .interface_of_iptables(End::Source, from)
                .interface_of_iptables(End::Destination, to)
                .counted()
                .leave(),
        }
    }

    fn comment(self, table: &str) -> String {
        let mark = mark(table);
        match self {
            Self::Pass(End::Source, bridge) => format!("{mark}from {bridge}"),
            Self::Pass(End::Destination, bridge) => format!("{mark}to {bridge}"),
            Self::Leave(from, to) => format!("{mark}from {from} to {to}"),
        }
    }
}

fn is_ours(rule: &Read, table: &str) -> bool {
    rule.comment.starts_with(&mark(table))
}

fn mark(table: &str) -> String {
    format!("{table}: ")
}

/// Looks at what is there; `None` if there is no such chain.
fn present(socket: &mut Socket, family: u8) -> io::Result<Option<Present>> {
    if nft::find_chain(socket, family, TABLE, CHAIN)?.is_none() {
        return Ok(None);
    }
    let mut present = Present::default();
    nft::each_rule(socket, family, TABLE, |attributes| present.add(rule::read(attributes)))?;
    Ok(Some(present))
}

impl Present {
    fn add(&mut self, rule: Read) {
        if rule.chain == CHAIN {
            self.rules.push(rule);
        } else if rule.chain.starts_with(CHAINS) {
            // What goes out by it, or does not, is what all of Docker's bridges have rules about.
            self.bridges.extend(rule.out_by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(chain: &str, comment: &str, out_by: &[&str]) -> Read {
        let (chain, comment) = (chain.to_owned(), comment.to_owned());
        let out_by = out_by.iter().map(|&it| it.to_owned()).collect();
        Read { chain, comment, out_by, ..Read::default() }
    }

    #[test]
    fn knows_its_own_rules() {
        let mut present = Present::default();
        let mut settled = |comment: &str, bridges: &[&str]| {
            present.add(rule(CHAIN, comment, &[]));
            present.is_settled("barge0", bridges)
        };
        assert!(settled("barge0x: to a", &[]));
        assert!(!settled("barge0: from a", &["a"]));
        assert!(settled("barge0: to a", &["a"]));
        assert!(!present.is_settled("barge0", &[]));
        assert!(!present.is_settled("barge0", &["a", "b"]));
        assert!(present.is_settled("barge-1", &[]));
    }

    #[test]
    fn leaves_to_docker_what_is_dockers() {
        let mut present = Present::default();
        present.add(rule("DOCKER-ISOLATION-STAGE-2", "", &["docker0"]));
        present.add(rule("DOCKER", "", &["docker0"]));
        present.add(rule("FORWARD", "", &["eth0"]));
        present.add(rule(CHAIN, "", &["eth1"]));
        let wanted = present.wanted(&["a", "b"]);
        let comments: Vec<_> = wanted.iter().map(|it| it.comment("t")).collect();
        let want = [
            "t: from a to docker0",
            "t: from docker0 to a",
            "t: from b to docker0",
            "t: from docker0 to b",
            "t: from a",
            "t: to a",
            "t: from b",
            "t: to b",
        ];
        assert_eq!(comments, want);
    }
}
