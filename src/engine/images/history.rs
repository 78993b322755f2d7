//! `history`: how an image came to be.

use crate::error::Result;
use crate::spec::digest::ImageId;
use crate::spec::reference::Reference;
use crate::spec::time;
use crate::store::Store;

/// One step of an image's making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image as it was after this step, where there is one.
    pub id: Option<ImageId>,
    /// Names of that image.
    pub names: Vec<Reference>,
    /// When, in nanoseconds since 1970; 0 if that is unknown.
    pub created: i64,
    /// By which instruction.
    pub created_by: String,
    /// Bytes that it added.
    pub size: u64,
    /// What was said about it.
    pub comment: String,
}

/// Returns the steps of an image's making, the last one first.
pub fn history(store: &Store, name: &str) -> Result<Vec<HistoryEntry>> {
    let images = store.images();
    let named = images.with_names(images.lookup(name)?)?;
    let config = images.config(&named.image.id)?;
    let mut layers = named.image.layers.iter();
    let mut entries = Vec::new();
    for step in config.history {
        let layer = if step.empty_layer == Some(true) { None } else { layers.next() };
        entries.push(HistoryEntry {
            id: None,
            names: Vec::new(),
            created: step.created.as_deref().and_then(time::parse_rfc3339).unwrap_or(0),
            created_by: step.created_by.unwrap_or_default(),
            size: layer.map_or(Ok(0), |layer| store.layers().info(layer).map(|info| info.size))?,
            comment: step.comment.unwrap_or_default(),
        });
    }
    // Some tools write no history, or not all of it.
    for layer in layers {
        entries.push(HistoryEntry {
            id: None,
            names: Vec::new(),
            created: named.image.created,
            created_by: String::new(),
            size: store.layers().info(layer)?.size,
            comment: String::new(),
        });
    }
    entries.reverse();
    if let Some(last) = entries.first_mut() {
        last.id = Some(named.image.id);
        last.names = named.names;
    }
    Ok(entries)
}
