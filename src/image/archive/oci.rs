//! OCI layouts, as archives and as directories: `index.json` leads to manifests, all blobs by digest.

use oci_spec::image::Descriptor;

use super::members::blob_name;
use super::pending::{Pending, take_in};
use super::{Members, Selection, docker};
use crate::error::{Error, Kind, Result};
use crate::image::manifest::{Document, Manifest, choose};
use crate::image::progress::{Progress, ProgressEvent};
use crate::spec::digest::Digest;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::image::NamedImage;

/// Where tools note an image's name, the most telling first.
pub(crate) const NAMES: [&str; 2] =
    ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
/// Indexes that lead to indexes, and so on.
const MAX_DEPTH: usize = 4;

pub(super) fn load(
    store: &Store,
    members: &Members,
    platform: &Platform,
    selection: Selection<'_>,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let Document::Index(index) = Document::parse(&members.document("index.json")?)? else {
        return Err(Error::new(Kind::Invalid, "the archive's `index.json` is no index"));
    };
    if index.manifests().is_empty() {
        return Err(Error::new(Kind::Invalid, "the archive has no images"));
    }
    let wanted = match selection {
        Selection::OciArchive(word) | Selection::OciDir(word) => {
            vec![only(index.manifests(), word)?]
        }
        _ => index.manifests().iter().collect(),
    };
    let mut images: Vec<Pending> = Vec::new();
    let mut no_image = None;
    for descriptor in wanted {
        let first: Digest = descriptor.digest().to_string().parse()?;
        let (digest, data, manifest) = match manifest(members, first, platform) {
            // A layout may hold signatures and other artifacts besides.
            Err(error) if error.kind() == Kind::Unsupported => {
                no_image.get_or_insert(error);
                continue;
            }
            found => found?,
        };
        let names: Vec<Reference> = match selection {
            Selection::OciDir(None) => Vec::new(),
            _ => name(descriptor).into_iter().collect(),
        };
        if let Some(known) = images.iter_mut().find(|image| image.manifest == digest) {
            // One image under several names.
            known.names.extend(names);
            continue;
        }
        let mut image = Pending::new(members, digest, data, manifest, blob_name)?;
        image.names = names;
        images.push(image);
    }
    match no_image {
        Some(error) if images.is_empty() => return Err(error),
        Some(error) => progress.update(ProgressEvent::Warning(&format!("left out: {error}"))),
        None => {}
    }
    // What Docker writes has the names in its own list, too.
    if members.contains(docker::LIST) && matches!(selection, Selection::All) {
        for (config, names) in docker::names(members)? {
            let images = images.iter_mut().filter(|image| config.contains(image.id.hex()));
            images.filter(|image| image.names.is_empty()).for_each(|image| {
                image.names.clone_from(&names);
            });
        }
    }
    take_in(store, members, images, blob_name, progress)
}

/// Follows indexes until there is a manifest for this platform.
fn manifest(
    members: &Members,
    first: Digest,
    platform: &Platform,
) -> Result<(Digest, Vec<u8>, Manifest)> {
    let mut digest = first;
    for _ in 0..MAX_DEPTH {
        let data = members.blob(&digest, blob_name)?;
        match Document::parse(&data)? {
            Document::Manifest(manifest) => return Ok((digest, data, manifest)),
            Document::Index(index) => digest = choose(&index, platform)?.digest,
        }
    }
    Err(Error::new(Kind::Invalid, "indexes of the archive lead to ever more indexes"))
}

/// Finds the image that is called so, or the only one.
fn only<'a>(descriptors: &'a [Descriptor], word: Option<&str>) -> Result<&'a Descriptor> {
    let found = match word {
        Some(word) => {
            descriptors.iter().find(|one| NAMES.iter().any(|key| called(one, key) == Some(word)))
        }
        None => descriptors.first().filter(|_| descriptors.len() == 1),
    };
    found.ok_or_else(|| {
        let words: Vec<&str> = descriptors
            .iter()
            .filter_map(|one| NAMES.iter().rev().find_map(|key| called(one, key)))
            .collect();
        let error = match word {
            Some(word) => Error::new(Kind::NotFound, format!("there is no image `{word}` in it")),
            None => Error::new(Kind::Invalid, "there is more than one image in it"),
        };
        match words.is_empty() {
            true => error.hint("its images have no names; `barge load` takes all of them"),
            false => error.hint(format!("it has: {}", words.join(", "))),
        }
    })
}

fn called<'a>(descriptor: &'a Descriptor, key: &str) -> Option<&'a str> {
    descriptor.annotations().as_ref()?.get(key).map(String::as_str)
}

/// Returns the name that a descriptor gives its image, if it is a good one.
fn name(descriptor: &Descriptor) -> Option<Reference> {
    let text = NAMES.iter().find_map(|key| called(descriptor, key))?;
    Reference::local(text).ok()
}
