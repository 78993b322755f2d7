//! One image's files in a directory, as `skopeo copy … dir:` and `podman save --format docker-dir` write.

use super::Members;
use super::pending::{Pending, take_in};
use crate::error::{Error, Kind, Result};
use crate::image::manifest::{Document, choose};
use crate::image::progress::Progress;
use crate::spec::digest::Digest;
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::blob::digest_of;
use crate::store::image::NamedImage;

/// Returns what the file of a blob is called.
fn file_name(digest: &Digest) -> String {
    digest.hex().to_owned()
}

pub(super) fn load(
    store: &Store,
    members: &Members,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let data = members.document("manifest.json")?;
    let (data, manifest) = match Document::parse(&data)? {
        Document::Manifest(manifest) => (data, manifest),
        // `skopeo copy --all`: the others are beside it, by their digests.
        Document::Index(index) => {
            let digest = choose(&index, platform)?.digest;
            let data = members.document(&format!("{}.manifest.json", digest.hex()))?;
            let (got, document) = (digest_of(&data), Document::parse(&data)?);
            match document {
                Document::Manifest(manifest) if got == digest => (data, manifest),
                _ => {
                    return Err(Error::new(Kind::Invalid, format!("manifest {digest} is damaged")));
                }
            }
        }
    };
    let pending = Pending::new(members, digest_of(&data), data, manifest, file_name)?;
    take_in(store, members, vec![pending], file_name, progress)
}
