//! `image tree`: the layers of an image, and the images that are built on it.

use std::collections::{BTreeSet, HashMap};

use crate::error::{Error, Kind, Result};
use crate::spec::digest::{ChainId, DiffId};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::image::NamedImage;

/// The layers of an image.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The image.
    pub named: NamedImage,
    /// Its layers, lowest first; or its top layer, with those that other images have above it.
    pub layers: Vec<LayerNode>,
}

/// A layer on top of certain others.
#[derive(Clone, Debug)]
pub struct LayerNode {
    /// The identity of it and all below it.
    pub chain: ChainId,
    /// Bytes of its files.
    pub size: u64,
    /// Names of the images that end with it.
    pub top_of: Vec<Reference>,
    /// Layers above it, where that is asked for.
    pub above: Vec<Self>,
}

/// All layers of all images, by what they are on top of.
#[derive(Default)]
struct Forest {
    layers: HashMap<ChainId, DiffId>,
    top_of: HashMap<ChainId, Vec<Reference>>,
    /// Those directly above each, in order.
    above: HashMap<ChainId, BTreeSet<ChainId>>,
}

/// Returns the layers of an image; with `requiring`, those that need it instead.
pub fn tree(store: &Store, name: &str, requiring: bool) -> Result<Tree> {
    let images = store.images();
    let named = images.with_names(images.lookup(name)?)?;
    let mut forest = Forest::default();
    for other in images.list()? {
        forest.add(&other);
    }
    let chains = ChainId::all(&named.image.layers);
    let layers = if requiring {
        chains.last().map(|top| forest.node(store, top, true)).transpose()?.into_iter().collect()
    } else {
        chains.iter().map(|chain| forest.node(store, chain, false)).collect::<Result<_>>()?
    };
    Ok(Tree { named, layers })
}

impl Forest {
    fn add(&mut self, named: &NamedImage) {
        let chains = ChainId::all(&named.image.layers);
        for (chain, layer) in chains.iter().zip(&named.image.layers) {
            self.layers.insert(chain.clone(), layer.clone());
        }
        for pair in chains.windows(2) {
            self.above.entry(pair[0].clone()).or_default().insert(pair[1].clone());
        }
        if let Some(top) = chains.last() {
            self.top_of.entry(top.clone()).or_default().extend_from_slice(&named.names);
        }
    }

    fn node(&self, store: &Store, chain: &ChainId, with_above: bool) -> Result<LayerNode> {
        let layer = self.layers.get(chain).ok_or_else(|| {
            Error::new(Kind::NotFound, "the image was removed while it was looked at")
        })?;
        let above = match self.above.get(chain) {
            Some(above) if with_above => {
                above.iter().map(|chain| self.node(store, chain, true)).collect::<Result<_>>()?
            }
            _ => Vec::new(),
        };
        Ok(LayerNode {
            chain: chain.clone(),
            size: store.layers().info(layer)?.size,
            top_of: self.top_of.get(chain).cloned().unwrap_or_default(),
            above,
        })
    }
}
