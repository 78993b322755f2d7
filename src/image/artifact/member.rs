//! An artifact that is made to be a member of a list.

use std::path::PathBuf;

use super::add::{empty_manifest, ingest, title, write_documents};
use crate::error::{Context, Result};
use crate::spec::oci::{Annotations, Descriptor, Manifest, TITLE};
use crate::store::Store;
use crate::store::draft::Finished;
use crate::store::list::Member;
use crate::store::lock::Lock;

/// The type of a configuration of which nothing is said.
const UNKNOWN_CONFIG: &str = "application/vnd.unknown.config.v1+json";

/// How an artifact is made.
#[derive(Clone, Debug, Default)]
pub struct MemberOptions {
    /// What kind of artifact it is.
    pub kind: Option<String>,
    /// Its annotations.
    pub annotations: Annotations,
    /// File with its configuration; `{}` if there is none.
    pub config: Option<PathBuf>,
    /// Media type of the configuration.
    pub config_type: Option<String>,
    /// Media type of the files; what they look like if nothing is said.
    pub layer_type: Option<String>,
    /// Leave out the names of the files.
    pub untitled: bool,
    /// What it is about.
    pub subject: Option<Descriptor>,
}

/// An artifact whose files are in the store, but not yet in their places.
pub struct Prepared {
    manifest: Manifest,
    finished: Vec<Finished>,
}

/// Copies files into the store.
pub fn prepare(store: &Store, files: &[PathBuf], options: &MemberOptions) -> Result<Prepared> {
    let mut manifest = empty_manifest(options.kind.clone(), options.annotations.clone());
    manifest.subject.clone_from(&options.subject);
    let mut finished = Vec::new();
    let mut take = |path: &PathBuf, media_type: Option<&str>| {
        let (descriptor, blob) =
            ingest(store, path, media_type).context(|| format!("cannot add {}", path.display()))?;
        finished.push(blob);
        Ok::<_, crate::Error>(descriptor)
    };
    if let Some(path) = &options.config {
        let kind = options.config_type.as_deref().unwrap_or(UNKNOWN_CONFIG);
        manifest.config = take(path, Some(kind))?;
    } else if let Some(kind) = &options.config_type {
        kind.clone_into(&mut manifest.config.media_type);
    }
    for path in files {
        let mut layer = take(path, options.layer_type.as_deref())?;
        if !options.untitled {
            layer.annotations.insert(TITLE.to_owned(), title(path, &Annotations::new())?);
        }
        manifest.layers.push(layer);
    }
    Ok(Prepared { manifest, finished })
}

impl Prepared {
    /// Puts it into its place, and describes it as a list does.
    pub fn publish(
        self,
        store: &Store,
        _collector_kept_away: &Lock,
    ) -> Result<(Descriptor, Member)> {
        store.publish(self.finished)?;
        let (digest, size, blobs) = write_documents(store, &self.manifest)?;
        let descriptor = Descriptor {
            artifact_type: Some(self.manifest.kind().to_owned()),
            ..Descriptor::new(&self.manifest.media_type, digest, size)
        };
        Ok((descriptor, Member { blobs, ..Member::default() }))
    }
}
