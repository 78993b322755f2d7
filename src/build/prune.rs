//! `builder prune` and `builder du`: what steps have made, and what takes space of it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::spec::digest::{DiffId, Digest};

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

/// Forgets what builds have left: what no image has, or all with the caches of mounts. Returns the IDs
/// of what is gone, and how many bytes that freed.
pub fn prune_cache(engine: &Engine, all: bool) -> Result<(Vec<Digest>, u64)> {
    let store = engine.store();
    let before = cache_use(engine)?;
    let mut gone = Vec::new();
    for record in before.records {
        if all || !record.shared {
            store.builds().remove(&record.id)?;
            gone.push(record.id);
        }
    }
    let mut freed = 0;
    if all {
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
