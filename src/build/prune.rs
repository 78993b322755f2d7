//! `builder prune` and `builder du`: what steps have made, and what takes space of it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::engine::{self, Engine};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::{DiffId, Digest};
use crate::spec::filter::{Filter, passes};
use crate::spec::time;

/// What a step of a build has left.
#[derive(Clone, Debug)]
pub struct CacheRecord {
    /// What it is called.
    pub id: Digest,
    /// The instruction.
    pub step: String,
    /// When it was made, as RFC 3339.
    pub created: String,
    /// Bytes of its layer.
    pub size: u64,
    /// Whether an image has the layer, too: it takes no space of its own.
    pub shared: bool,
}

impl CacheRecord {
    /// One to try filters with.
    fn nothing() -> Self {
        let id = Digest::from_sha256(&[0; 32]);
        Self { id, step: String::new(), created: String::new(), size: 0, shared: false }
    }
}

/// All that builds have left.
#[derive(Clone, Debug, Default)]
pub struct CacheUse {
    /// Of steps.
    pub records: Vec<CacheRecord>,
    /// Bytes of what `RUN --mount=type=cache` has shown.
    pub mounts: u64,
}

/// Lists what builds have left, the newest first.
pub fn cache_use(engine: &Engine) -> Result<CacheUse> {
    let store = engine.store();
    let (images, _) = store.images().read_all()?;
    let used: BTreeSet<DiffId> = images.into_iter().flat_map(|image| image.layers).collect();
    let mut records: Vec<CacheRecord> = store
        .builds()
        .list()?
        .into_iter()
        .map(|(id, built)| {
            let info = built.layer.as_ref().and_then(|layer| store.layers().info(layer).ok());
            CacheRecord {
                id,
                step: built.step,
                created: built.created,
                size: info.map_or(0, |info| info.size),
                shared: built.layer.as_ref().is_some_and(|layer| used.contains(layer)),
            }
        })
        .collect();
    records
        .sort_by(|one, other| other.created.cmp(&one.created).then_with(|| one.id.cmp(&other.id)));
    Ok(CacheUse { records, mounts: size_of(&store.builds().caches())? })
}

/// Which of what builds have left goes. By default, that is all that no image has.
#[derive(Clone, Debug, Default)]
pub struct CachePrune {
    /// Also what images have, and the caches of mounts.
    pub all: bool,
    /// Only that of which these are true.
    pub filters: Vec<Filter>,
    /// How much stays, the newest of it.
    pub keep: Keep,
}

/// How much of what builds have left stays, in bytes; 0 says nothing, and if nothing is said, nothing stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So much stays in any case.
    pub reserved: u64,
    /// No more than so much stays.
    pub most: u64,
    /// So much is to be free on the disk.
    pub free: u64,
}

impl Keep {
    /// Returns how much of so much stays, if so much is free.
    fn of(self, total: u64, free: u64) -> u64 {
        let mut stays = self.most;
        let lack = self.free.saturating_sub(free);
        if lack > 0 {
            let rest = total.saturating_sub(lack);
            stays = if stays == 0 { rest } else { stays.min(rest) };
        }
        stays.max(self.reserved)
    }
}

impl CachePrune {
    /// Tells whether the caches of mounts are among what is wanted.
    fn has_mounts(&self) -> bool {
        let is_that = |key: &str, value: &str| Ok(key == "type" && value == MOUNT);
        self.all && self.keep == Keep::default() && passes(&self.filters, is_that).unwrap_or(false)
    }
}

/// What BuildKit calls a cache of mounts, and what steps have left.
const MOUNT: &str = "exec.cachemount";
const STEP: &str = "regular";

/// Tells whether what a step has left is wanted, and refuses filters that make no sense.
fn is_wanted(record: &CacheRecord, filters: &[Filter], now: i64) -> Result<bool> {
    let truth = |key: &str, value: &str, is_so: bool| match value {
        "" => Ok(is_so),
        _ => Filter { key: key.to_owned(), value: value.to_owned(), negated: false }
            .truth()
            .map(|wanted| wanted == is_so),
    };
    passes(filters, |key, value| match key {
        "id" => Ok(record.id.hex().starts_with(value.trim_start_matches("sha256:"))),
        "type" => Ok(value == STEP),
        "description" => Ok(record.step == value),
        // A step knows which layer it has made, not from which one.
        "parent" => Ok(false),
        "inuse" => truth(key, value, false),
        "shared" => truth(key, value, record.shared),
        "private" => truth(key, value, !record.shared),
        "until" | "unused-for" => {
            let before = time::parse(value, now)?;
            Ok(time::parse_rfc3339(&record.created).is_none_or(|created| created < before))
        }
        _ => Err(Error::new(Kind::Invalid, format!("invalid filter '{key}'"))
            .hint("id, type, description, parent, inuse, shared, private and until are known")),
    })
}

/// Forgets what builds have left. Returns the IDs of what is gone, and how many bytes that freed.
pub fn prune_cache(engine: &Engine, asked: &CachePrune) -> Result<(Vec<Digest>, u64)> {
    let store = engine.store();
    let now = engine::now();
    // What is wrong with filters is told, also where there is nothing.
    is_wanted(&CacheRecord::nothing(), &asked.filters, now)?;
    engine.clear_steps()?;
    let before = cache_use(engine)?;
    let own = |record: &CacheRecord| if record.shared { 0 } else { record.size };
    let mut left = before.records.iter().map(own).sum::<u64>() + before.mounts;
    let stays = asked.keep.of(left, free_space(store.root())?);
    let mut gone = Vec::new();
    // The oldest first.
    for record in before.records.into_iter().rev() {
        if asked.keep != Keep::default() && left <= stays {
            break;
        }
        if (asked.all || !record.shared) && is_wanted(&record, &asked.filters, now)? {
            store.builds().remove(&record.id)?;
            left = left.saturating_sub(own(&record));
            gone.push(record.id);
        }
    }
    gone.reverse();
    let mut freed = 0;
    if asked.has_mounts() {
        store.builds().remove_caches()?;
        freed += before.mounts.saturating_sub(size_of(&store.builds().caches())?);
    }
    store.gc_tmp()?;
    let lock = store.exclusive()?;
    let garbage = store.collect_garbage(&lock)?;
    drop(lock);
    freed += garbage.erase()?;
    Ok((gone, freed))
}

fn free_space(path: &Path) -> Result<u64> {
    let facts = rustix::fs::statvfs(path).context(|| format!("cannot look at {}", path.display()));
    facts.map(|facts| facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Adds up what files have below a directory.
fn size_of(path: &Path) -> Result<u64> {
    let context = || format!("cannot look at {}", path.display());
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).context(context),
    };
    if !found.is_dir() {
        return Ok(found.len());
    }
    let mut size = 0;
    for entry in path.read_dir().context(context)? {
        size += size_of(&entry.context(context)?.path())?;
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_as_much_as_buildkit() {
        let keep = |reserved, most, free| Keep { reserved, most, free };
        for (keep, want) in [
            (keep(0, 0, 0), 0),
            (keep(30, 0, 0), 30),
            (keep(0, 60, 0), 60),
            (keep(0, 0, 15), 95),
            (keep(0, 0, 5), 0),
            (keep(0, 60, 15), 60),
            (keep(0, 60, 70), 40),
            (keep(50, 60, 70), 50),
            (keep(0, 0, 1000), 0),
        ] {
            assert_eq!(keep.of(100, 10), want, "{keep:?}");
        }
    }

    #[test]
    fn filters_say_what_goes() {
        let record = CacheRecord {
            id: Digest::from_hex(&"ab".repeat(32)).unwrap(),
            step: "RUN true".to_owned(),
            created: "2026-11-02T00:00:00Z".to_owned(),
            size: 1,
            shared: false,
        };
        let now = time::parse_rfc3339("2026-11-02T01:00:00Z").unwrap();
        for (filters, want) in [
            (&[][..], Some(true)),
            (&["id=abab"], Some(true)),
            (&["id=ba"], Some(false)),
            (&["until=30m"], Some(true)),
            (&["until=2h"], Some(false)),
            (&["unused-for=30m"], Some(true)),
            (&["until=soon"], None),
            (&["type=regular", "private="], Some(true)),
            (&["type=exec.cachemount"], Some(false)),
            (&["shared=true"], Some(false)),
            (&["shared!="], Some(true)),
            (&["shared=perhaps"], None),
            (&["description=RUN true"], Some(true)),
            (&["parent=x"], Some(false)),
            (&["inuse="], Some(false)),
            (&["label=x"], None),
        ] {
            let parsed: Vec<Filter> = filters.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(is_wanted(&record, &parsed, now).ok(), want, "{filters:?}");
        }
    }
}
