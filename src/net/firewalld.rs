//! firewalld, where it runs: it turns away what belongs to none of its zones.
//!
//! As netavark does, the addresses of our networks are made sources of its zone `trusted`; who may reach whom
//! is decided by our own table all the same. An address that somebody has given to another zone stays there.
//!
//! firewalld forgets what it was told when it is started again, or reloaded. It makes its table anew then, and
//! the kernel gives that a number which no other table has had: as long as it is the one that is on record,
//! with the networks that are there now, firewalld is not spoken to. Where it does not run, or for another
//! network namespace, its table is not here, which is one question to the kernel.
//!
//! Monitors hear of its new table and tell it again. Where it works by iptables, there is only a new chain,
//! of which they do not hear: the next start tells it, or `network reload`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bridge;
use super::ground::Ground;
use super::nft;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::store::lock::Lock;
use crate::store::{Store, file};
use crate::sys::dbus::{self, Connection, Failure, Object, Value};

/// Its table; or, where it works by iptables, a chain that it makes, and the table that this is in.
const TABLE: &str = "firewalld";
const CHAIN: (&str, &str) = ("filter", "FORWARD_direct");

/// The zone from which everything may pass.
const ZONE: &str = "trusted";

const ZONES: Object<'_> = Object {
    destination: "org.fedoraproject.FirewallD1",
    path: "/org/fedoraproject/FirewallD1",
    interface: "org.fedoraproject.FirewallD1.zone",
};

/// How long it may take to answer, as it does while it starts: others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it may begin anew while it is spoken to.
const TRIES: usize = 10;

/// What firewalld was told, and when.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// The number of its table.
    table: u64,
    /// The addresses of networks.
    sources: Vec<Cidr>,
}

/// Lets pass what comes from the networks that are set up, and from those no more that are not.
///
/// Nobody else waits for the lock, which is about speaking with firewalld alone.
pub(super) fn admit(store: &Store, ground: &Ground) -> Result<()> {
    if is_settled(store, ground)? {
        return Ok(());
    }
    let _lock = Lock::exclusive(&lock_path(store))?;
    settle(store, ground)
}

/// As [`admit`], for those who have other things to do: nothing if somebody is about to do that.
pub(super) fn admit_unless_busy(store: &Store, ground: &Ground) -> Result<()> {
    if is_settled(store, ground)? {
        return Ok(());
    }
    match Lock::try_exclusive(&lock_path(store))? {
        Some(_lock) => settle(store, ground),
        None => Ok(()),
    }
}

/// As [`admit`], whatever firewalld was told before: somebody may have told it otherwise.
pub(super) fn admit_anew(store: &Store, ground: &Ground) -> Result<()> {
    if table(ground)?.is_none() {
        return Ok(());
    }
    let _lock = Lock::exclusive(&lock_path(store))?;
    if let Some(told) = told(store)? {
        save(store, &Told { table: 0, ..told })?;
    }
    settle(store, ground)
}

/// Tells whether it is here; fails where it is, and cannot be told of networks.
pub(super) fn answers(ground: &Ground) -> Result<bool> {
    if table(ground)?.is_none() {
        return Ok(false);
    }
    let any = Told::default();
    let asked = connect(&any)?.call(ZONES, "getZones", &[]);
    asked.map(|_| true).map_err(|failure| refused(failure, &any))
}

fn is_settled(store: &Store, ground: &Ground) -> Result<bool> {
    let Some(table) = table(ground)? else { return Ok(true) };
    Ok(told(store)?.unwrap_or_default() == wanted(store, table)?)
}

/// Tells firewalld what it does not know. The caller holds the lock.
fn settle(store: &Store, ground: &Ground) -> Result<()> {
    for _ in 0..TRIES {
        let Some(table) = table(ground)? else { return Ok(()) };
        let (told, wanted) = (told(store)?.unwrap_or_default(), wanted(store, table)?);
        if told == wanted {
            return Ok(());
        }
        tell(&told, &wanted)?;
        save(store, &wanted)?;
    }
    Err(Error::new(Kind::Unavailable, "firewalld begins anew again and again")
        .hint("see `systemctl status firewalld`"))
}

fn lock_path(store: &Store) -> PathBuf {
    store.runroot().join("firewalld.lock")
}

fn record_path(store: &Store) -> PathBuf {
    store.runroot().join("firewalld.json")
}

fn told(store: &Store) -> Result<Option<Told>> {
    file::read_json(&record_path(store))
}

fn save(store: &Store, told: &Told) -> Result<()> {
    file::write_json_volatile(&record_path(store), told)
}

fn wanted(store: &Store, table: u64) -> Result<Told> {
    let bridges = bridge::all(store)?;
    let own = bridges.iter().filter(|bridge| !bridge.is_direct());
    let sources = own.flat_map(|bridge| &bridge.gateways).map(|gateway| gateway.network());
    Ok(Told { table, sources: sources.collect() })
}

/// Returns the number of firewalld's table; `None` if it has none where our bridges are.
fn table(ground: &Ground) -> Result<Option<u64>> {
    // No firewalld is where those without root have theirs.
    if ground.is_shared() {
        return Ok(None);
    }
    let found = ground.firewall().and_then(|mut socket| {
        Ok(match nft::find_table(&mut socket, TABLE)? {
            Some(number) => Some(number),
            None => nft::find_chain(&mut socket, nft::IPV4, CHAIN.0, CHAIN.1)?,
        })
    });
    found.context(|| "cannot look for the firewall of firewalld")
}

fn connect(wanted: &Told) -> Result<Connection> {
    let bus = dbus::system_bus();
    let connected = Connection::to_bus(&bus).and_then(|mut connection| {
        connection.set_patience(PATIENCE)?;
        Ok(connection)
    });
    connected
        .context(|| format!("cannot speak to firewalld over {}", bus.display()))
        .map_err(|error| error.kind_is(Kind::Unavailable).hint(other_way(wanted)))
}

fn tell(told: &Told, wanted: &Told) -> Result<()> {
    if told.sources.is_empty() && wanted.sources.is_empty() {
        return Ok(());
    }
    let mut connection = connect(wanted)?;
    let mut ask = |method, arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().copied().map(Value::text).collect();
        let answer = connection.call(ZONES, method, &arguments);
        match answer.map_err(|failure| refused(failure, wanted))?.into_iter().next() {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(Error::new(Kind::Unavailable, "firewalld answers with no zone")),
        }
    };
    for source in told.sources.iter().filter(|source| !wanted.sources.contains(source)) {
        let source = source.to_string();
        if ask("getZoneOfSource", &[&source])? == ZONE {
            ask("removeSource", &[ZONE, &source])?;
        }
    }
    for source in &wanted.sources {
        let source = source.to_string();
        if ask("getZoneOfSource", &[&source])?.is_empty() {
            ask("addSource", &[ZONE, &source])?;
        }
    }
    Ok(())
}

fn refused(failure: Failure, wanted: &Told) -> Error {
    let text = format!("cannot add networks to zone `{ZONE}` of firewalld");
    let error = Error::new(Kind::Unavailable, text).hint(other_way(wanted));
    match failure {
        Failure::Io(source) => error.caused_by(source),
        Failure::Refused { text, .. } => error.caused_by(std::io::Error::other(text)),
    }
}

/// Says what can be done by hand.
fn other_way(wanted: &Told) -> String {
    let sources = wanted.sources.iter().map(|source| format!(" --add-source={source}"));
    let sources = Some(sources.collect::<String>()).filter(|sources| !sources.is_empty());
    let sources = sources.unwrap_or_else(|| " --add-source=ADDRESSES".to_owned());
    format!("firewall-cmd --zone={ZONE}{sources}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_can_be_done_by_hand() {
        let sources = ["10.1.0.0/16", "fd00::/64"].map(|it| it.parse().unwrap()).into();
        let way = other_way(&Told { table: 7, sources });
        let want = "firewall-cmd --zone=trusted --add-source=10.1.0.0/16 --add-source=fd00::/64";
        assert_eq!(way, want);
        let way = other_way(&Told::default());
        assert_eq!(way, "firewall-cmd --zone=trusted --add-source=ADDRESSES");
    }
}
