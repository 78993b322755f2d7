//! Images in archives: what `docker save`, `podman save` and `skopeo copy` write.
//!
//! The lists that say what is in an archive come at its end or in its middle, so an archive is first
//! looked through for where its members are. A pipe, or a compressed archive, is written to a
//! temporary file for that.

mod directory;
mod docker;
mod members;
mod oci;
mod pending;

use std::io::BufRead;
use std::path::Path;

pub(crate) use members::{Members, blob_name};
pub(crate) use oci::NAMES;

use super::policy::{LocalSource, Policy};
use super::progress::Progress;
use crate::error::{Error, Kind, Result};
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::image::NamedImage;

/// Where an archive is.
pub enum ArchiveSource<'a> {
    /// A file, or a directory.
    Path(&'a Path),
    /// A stream, as from a pipe.
    Stream(Box<dyn BufRead + 'a>),
}

/// Loads all images of an archive. What is returned has the names that it has in the archive.
pub fn load(
    store: &Store,
    source: ArchiveSource<'_>,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    store.gc_tmp()?;
    let policy = Policy::load(None)?;
    let path = match source {
        ArchiveSource::Path(path) => Some(path),
        ArchiveSource::Stream(_) => None,
    };
    let members = match source {
        ArchiveSource::Path(path) => Members::open(store, path)?,
        ArchiveSource::Stream(stream) => Members::from_stream(store, stream)?,
    };
    // Newer versions of Docker write both lists; OCI's leads to the manifests.
    if members.contains("index.json") {
        let source = match path {
            Some(dir) if dir.is_dir() => LocalSource::OciDirectory(dir),
            file => LocalSource::OciArchive(file),
        };
        policy.check_local(store, source)?;
        oci::load(store, &members, platform, progress)
    } else if members.contains(docker::LIST) {
        match path {
            Some(dir) if !docker::has_list(&members)? => {
                policy.check_local(store, LocalSource::Directory(dir))?;
                directory::load(store, &members, platform, progress)
            }
            _ => {
                policy.check_local(store, LocalSource::DockerArchive)?;
                docker::load(store, &members, progress)
            }
        }
    } else {
        Err(unknown_format())
    }
}

fn unknown_format() -> Error {
    Error::new(
        Kind::Invalid,
        "payload does not match any of the supported image formats: oci-archive, docker-archive, oci-dir, docker-dir",
    )
    .hint("for the archive of a root file system use `barge import`")
}
