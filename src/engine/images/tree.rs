//! `image tree`: the layers of an image, and the images that are built on it.

use std::collections::{BTreeSet, HashMap};

use crate::error::{Error, Kind, Result};
use crate::spec::digest::{DiffId, Digest};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::blob::digest_of;
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
    /// The identity of it and all below it: OCI's chain ID.
    pub chain: Digest,
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
    layers: HashMap<Digest, DiffId>,
    top_of: HashMap<Digest, Vec<Reference>>,
    /// Those directly above each, in order.
    above: HashMap<Digest, BTreeSet<Digest>>,
}

/// Returns the layers of an image; with `requiring`, those that need it instead.
pub fn tree(store: &Store, name: &str, requiring: bool) -> Result<Tree> {
    let images = store.images();
    let named = images.with_names(images.lookup(name)?)?;
    let mut forest = Forest::default();
    for other in images.list()? {
        forest.add(&other);
    }
    let chains = chains(&named.image.layers);
    let layers = if requiring {
        chains.last().map(|top| forest.node(store, top, true)).transpose()?.into_iter().collect()
    } else {
        chains.iter().map(|chain| forest.node(store, chain, false)).collect::<Result<_>>()?
    };
    Ok(Tree { named, layers })
}

impl Forest {
    fn add(&mut self, named: &NamedImage) {
        let chains = chains(&named.image.layers);
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

    fn node(&self, store: &Store, chain: &Digest, with_above: bool) -> Result<LayerNode> {
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

/// Returns the chain ID of each layer and all below it.
fn chains(layers: &[DiffId]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::new();
    for layer in layers {
        chains.push(match chains.last() {
            Some(below) => digest_of(format!("{below} {layer}").as_bytes()),
            None => layer.0.clone(),
        });
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_chains_as_oci_does() {
        let layers: Vec<DiffId> = [
            "sha256:82086116f386156aed78a5172f4038132cc4b0b8c698f7142f6053917259b932",
            "sha256:6fcc7188b5083dd7df90a9772a2fd3426a237393e42f104150f1bb41e1641c11",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let chains = chains(&layers);
        assert_eq!(chains[0], layers[0].0);
        assert_eq!(
            chains[1].as_str(),
            "sha256:d3f8abaea55abc0d6ee5607ab21013f15282d8be66e0e9815092c3a7745cf66f"
        );
    }
}
