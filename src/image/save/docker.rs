//! Docker's archives: each layer's tar stream, each image's configuration, and lists of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{SavedImage, Saver, once};
use crate::error::{Context, Result};
use crate::image::outgoing::Outgoing;
use crate::image::progress::ProgressEvent;
use crate::spec::digest::{DiffId, ImageId};
use crate::spec::reference::Reference;

/// An image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Saver<'_, '_> {
    /// Writes an archive that `docker load` understands, also very old ones of it.
    pub(super) fn docker_archive(&mut self, images: &[SavedImage]) -> Result<()> {
        let mut items: Vec<(ImageId, Item)> = Vec::new();
        // What versions before 1.10 looked for: repository, tag, top layer.
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for SavedImage { image, names } in images {
            for name in names {
                let name: Reference = name.parse()?;
                if let (Some(tag), Some(top)) = (name.tag(), image.layers.last()) {
                    let tags = repositories.entry(name.repository()).or_default();
                    tags.insert(tag.to_owned(), top.hex().to_owned());
                }
            }
            let names = once(names).into_iter().map(str::to_owned);
            if let Some((_, item)) = items.iter_mut().find(|(id, _)| *id == image.id) {
                item.repo_tags.extend(names);
                continue;
            }
            let outgoing = Outgoing::of(self.store, image, self.form)?;
            self.progress.update(ProgressEvent::Layers(outgoing.parts.len()));
            for part in &outgoing.parts {
                self.plain(part, |digest| format!("{}.tar", digest.hex()))?;
            }
            let config = format!("{}.json", image.id.hex());
            self.members.add_bytes(&config, &outgoing.config)?;
            self.progress.update(ProgressEvent::Config(&image.id.0));
            let layer = |id: &DiffId| format!("{}.tar", id.hex());
            let layers = image.layers.iter().map(layer).collect();
            let item = Item { config, repo_tags: names.collect(), layers };
            items.push((image.id.clone(), item));
        }
        self.progress.update(ProgressEvent::Recording);
        let items: Vec<&Item> = items.iter().map(|(_, item)| item).collect();
        let list = serde_json::to_vec(&items).context(|| "cannot write the list of images")?;
        self.members.add_bytes("manifest.json", &list)?;
        let list =
            serde_json::to_vec(&repositories).context(|| "cannot write the list of names")?;
        self.members.add_bytes("repositories", &list)
    }
}
