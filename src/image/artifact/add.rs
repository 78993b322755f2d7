//! Files of this machine become an artifact.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use super::media;
use crate::error::{Context, Error, Kind, Result};
use crate::image::transfer;
use crate::spec::digest::Digest;
use crate::spec::oci::{
    Annotations, CREATED, Descriptor, EMPTY_JSON, Manifest, OCI_MANIFEST, TITLE,
};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::artifact::Artifact;
use crate::store::blob::digest_of;
use crate::store::draft::Finished;

/// The artifact type of what nothing is said about.
const UNKNOWN: &str = "application/vnd.unknown.artifact.v1";
const EMPTY: &[u8] = b"{}";
/// The same in base64.
const EMPTY_DATA: &str = "e30=";

/// How files are added.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// Annotations of the files, and of an artifact that is new.
    pub annotations: Annotations,
    /// What kind of artifact it is.
    pub kind: Option<String>,
    /// Media type of the files; what they look like if nothing is said.
    pub file_type: Option<String>,
    /// Add to an artifact that is there.
    pub append: bool,
    /// Take the place of an artifact that may be there.
    pub replace: bool,
    /// When it is made, as RFC 3339.
    pub created: String,
}

/// Makes an artifact of files, or adds them to one; also returns what it took the place of.
pub fn add(
    store: &Store,
    name: &Reference,
    files: &[PathBuf],
    options: &AddOptions,
) -> Result<(Artifact, Option<Artifact>)> {
    let titles: Vec<String> =
        files.iter().map(|path| title(path, &options.annotations)).collect::<Result<_>>()?;
    // What cannot go well is found out before large files are copied, and once more in the end.
    let before = store.artifacts().named(name)?;
    base(store, name, before.as_ref(), &titles, options)?;
    let mut layers = Vec::new();
    let mut finished = Vec::new();
    for (path, title) in files.iter().zip(&titles) {
        let context = || format!("cannot add {} to artifact {name}", path.display());
        let (mut layer, blob) =
            ingest(store, path, options.file_type.as_deref()).context(context)?;
        layer.annotations.clone_from(&options.annotations);
        layer.annotations.insert(TITLE.to_owned(), title.clone());
        layers.push(layer);
        finished.push(blob);
    }
    let kept = store.shared()?;
    store.publish(finished)?;
    let make = |before: Option<&Artifact>| {
        let mut manifest = base(store, name, before, &titles, options)?;
        manifest.layers.extend(layers);
        let (digest, _, blobs) = write_documents(store, &manifest)?;
        Ok(Artifact { name: name.clone(), digest, blobs })
    };
    store.artifacts().update(name, make, &kept)
}

/// Returns the manifest that files are added to: a new one, or that of the artifact that is there.
fn base(
    store: &Store,
    name: &Reference,
    before: Option<&Artifact>,
    titles: &[String],
    options: &AddOptions,
) -> Result<Manifest> {
    let manifest = match before {
        Some(before) if options.append => store.artifacts().manifest(before)?.0,
        None if options.append => {
            return Err(Error::new(Kind::NotFound, format!("{name}: artifact does not exist"))
                .hint("leave --append out to make it"));
        }
        Some(_) if !options.replace => {
            return Err(Error::new(Kind::Conflict, format!("{name}: artifact already exists"))
                .hint("add to it by --append, or make it anew by --replace"));
        }
        Some(_) | None => new_manifest(options),
    };
    let known = manifest.layers.iter().filter_map(|layer| layer.annotations.get(TITLE));
    let mut seen: HashSet<&String> = known.collect();
    match titles.iter().find(|title| !seen.insert(title)) {
        Some(twice) => {
            Err(Error::new(Kind::Conflict, format!("{twice}: file already exists in artifact")))
        }
        None => Ok(manifest),
    }
}

fn new_manifest(options: &AddOptions) -> Manifest {
    let mut annotations = options.annotations.clone();
    annotations.insert(CREATED.to_owned(), options.created.clone());
    empty_manifest(options.kind.clone(), annotations)
}

/// Returns the manifest of an artifact without files.
pub(super) fn empty_manifest(kind: Option<String>, annotations: Annotations) -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: OCI_MANIFEST.to_owned(),
        // Without a type of the configuration it must have one.
        artifact_type: Some(kind.unwrap_or_else(|| UNKNOWN.to_owned())),
        config: Descriptor {
            data: Some(EMPTY_DATA.to_owned()),
            ..Descriptor::new(EMPTY_JSON, digest_of(EMPTY), EMPTY.len() as u64)
        },
        layers: Vec::new(),
        subject: None,
        annotations,
    }
}

/// Puts the documents of an artifact into the store whose files are there; returns its digest, its size
/// and all its blobs.
pub(super) fn write_documents(
    store: &Store,
    manifest: &Manifest,
) -> Result<(Digest, u64, Vec<Digest>)> {
    let document = serde_json::to_vec(manifest).context(|| "cannot encode the manifest")?;
    let digest = store.blobs().write(&document)?;
    if manifest.config.digest == digest_of(EMPTY) {
        store.blobs().write(EMPTY)?;
    }
    let mut blobs: Vec<_> = manifest.blobs().map(|blob| blob.digest.clone()).collect();
    blobs.push(digest.clone());
    Ok((digest, document.len() as u64, blobs))
}

/// Returns the name that a file has in the artifact.
pub(super) fn title(path: &Path, annotations: &Annotations) -> Result<String> {
    if let Some(title) = annotations.get(TITLE) {
        return Ok(title.clone());
    }
    let invalid = || {
        Error::new(Kind::Invalid, format!("{} has no name that can be kept", path.display()))
            .hint("rename the file")
    };
    path.file_name().and_then(|name| name.to_str()).map(str::to_owned).ok_or_else(invalid)
}

/// Copies a file into the store, and describes it; what it is shows its beginning if nothing is said.
pub(super) fn ingest(
    store: &Store,
    path: &Path,
    media_type: Option<&str>,
) -> Result<(Descriptor, Finished)> {
    // Before it is opened: a pipe would wait for its writer.
    let metadata = fs::metadata(path).context(|| "cannot read it")?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "it is a directory" } else { "it is no regular file" };
        return Err(Error::new(Kind::Invalid, what).hint("add files; tar keeps a directory in one"));
    }
    let mut file = File::open(path).context(|| "cannot open it")?;
    let mut beginning = Vec::new();
    file.by_ref()
        .take(media::ENOUGH as u64)
        .read_to_end(&mut beginning)
        .context(|| "cannot read it")?;
    let media_type = media_type.unwrap_or_else(|| media::sniff(&beginning));
    let mut whole = Cursor::new(&beginning).chain(file);
    let draft = transfer::write(&mut whole, store.blobs().begin()?, None, &|_| ())?;
    let (digest, size) = draft.digest();
    let finished = draft.finish(&digest);
    Ok((Descriptor::new(media_type, digest, size), finished))
}
