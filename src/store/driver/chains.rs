//! The trees that containers on btrfs are snapshots of.
//!
//! Each layer of an image has one, in a subvolume `chains/CHAIN_ID/root`: a snapshot of the one below,
//! with the layer's files added. They share all data with each other and with the layers. They are
//! made when the first container needs them, and removed with the images that they are of.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{TREE, begin, merge};
use crate::error::{Context, Result};
use crate::spec::digest::{ChainId, DiffId, Digest};
use crate::store::Store;
use crate::store::draft::{Draft, Gone};
use crate::store::file;
use crate::store::lock::Lock;
use crate::sys::btrfs;

/// How many trees are made before they are moved to their places: each is an open file until then.
const AT_ONCE: usize = 32;

/// Makes a tree of layers, the lowest first, as a snapshot.
pub(super) fn snapshot(
    store: &Store,
    layers: &[DiffId],
    tree: &Path,
    is_given_up: &dyn Fn() -> bool,
) -> Result<()> {
    match ensure(store, layers, is_given_up)? {
        Some(chain) => copy_at_once(&chain, tree),
        None => create(tree),
    }
}

/// Returns the tree of layers that all containers of these share; `None` if there are no layers.
fn ensure(
    store: &Store,
    layers: &[DiffId],
    is_given_up: &dyn Fn() -> bool,
) -> Result<Option<PathBuf>> {
    let places: Vec<PathBuf> =
        ChainId::all(layers).iter().map(|chain| store.chains().join(chain.hex())).collect();
    let Some(top) = places.last() else { return Ok(None) };
    if !top.exists() {
        file::create_dirs(&store.chains(), 0o700)?;
        // Several that start at once would all do the same work.
        let _alone = Lock::exclusive(&store.root.join("chains.lock"))?;
        let made = places.iter().rposition(|place| place.exists()).map_or(0, |known| known + 1);
        let missing: Vec<_> = layers.iter().zip(&places).skip(made).collect();
        let mut below = made.checked_sub(1).map(|known| places[known].join(TREE));
        for some in missing.chunks(AT_ONCE) {
            let mut drafts: Vec<Draft> = Vec::new();
            for (layer, _) in some {
                let draft = store.draft_dir()?;
                let tree = draft.path().join(TREE);
                match &below {
                    Some(below) => copy_at_once(below, &tree)?,
                    None => create(&tree)?,
                }
                merge::apply(&store.layers().path(layer), &tree, is_given_up)?;
                below = Some(tree);
                drafts.push(draft);
            }
            let finished = drafts.into_iter().zip(some);
            store.publish(
                finished.map(|(draft, (_, place))| draft.finish((*place).clone())).collect(),
            )?;
            below = some.last().map(|(_, place)| place.join(TREE));
        }
    }
    Ok(Some(top.join(TREE)))
}

fn create(tree: &Path) -> Result<()> {
    btrfs::create(tree).context(|| format!("cannot make subvolume {}", tree.display()))?;
    begin(tree)
}

fn copy_at_once(source: &Path, tree: &Path) -> Result<()> {
    btrfs::snapshot(source, tree)
        .context(|| format!("cannot make {} a snapshot of {}", tree.display(), source.display()))
}

impl Store {
    fn chains(&self) -> PathBuf {
        self.root.join("chains")
    }

    /// Moves the shared trees aside that are of none of these images. Each image is a list of layers,
    /// the lowest first.
    ///
    /// Containers have trees of their own: they need not be among the images.
    pub(in crate::store) fn take_chains_away(&self, images: &[Vec<DiffId>]) -> Result<Vec<Gone>> {
        let dir = self.chains();
        let context = || format!("cannot list {}", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(context),
        };
        let kept: BTreeSet<ChainId> =
            images.iter().flat_map(|layers| ChainId::all(layers)).collect();
        let mut gone = Vec::new();
        for entry in entries {
            let name = entry.context(context)?.file_name();
            let chain = name.to_str().and_then(|name| Digest::from_hex(name).ok()).map(ChainId);
            if chain.is_none_or(|chain| !kept.contains(&chain)) {
                gone.extend(self.take_away(&dir.join(name))?);
            }
        }
        Ok(gone)
    }
}
