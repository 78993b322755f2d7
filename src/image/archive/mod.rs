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
use crate::spec::location::ArchiveImage;
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

/// Which images of an archive are wanted, and in what form it has to be.
#[derive(Clone, Copy, Debug, Default)]
pub enum Selection<'a> {
    /// All of them, in any form.
    #[default]
    All,
    /// Those of Docker's list: all, or one of them.
    Docker(Option<&'a ArchiveImage>),
    /// One of an OCI layout in a file: the one that is called so there, or the only one.
    OciArchive(Option<&'a str>),
    /// One of an OCI layout in a directory; it has no name if it is not asked for by that.
    OciDir(Option<&'a str>),
    /// The one whose files a directory has.
    Directory,
}

/// How images are loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// For which platform.
    pub platform: &'a Platform,
    /// Says whose signatures images must have, in place of the usual file.
    pub signature_policy: Option<&'a Path>,
    /// Which of them.
    pub selection: Selection<'a>,
}

/// Loads images of an archive. What is returned has the names that it has in the archive.
pub fn load(
    store: &Store,
    source: ArchiveSource<'_>,
    options: &LoadOptions<'_>,
    progress: &dyn Progress,
) -> Result<Vec<NamedImage>> {
    let LoadOptions { platform, signature_policy, selection } = *options;
    store.gc_tmp()?;
    let policy = Policy::load(signature_policy)?;
    let path = match source {
        ArchiveSource::Path(path) => Some(path),
        ArchiveSource::Stream(_) => None,
    };
    let members = match source {
        ArchiveSource::Path(path) => Members::open(store, path)?,
        ArchiveSource::Stream(stream) => Members::from_stream(store, stream)?,
    };
    match (form_of(&members, path)?, selection) {
        // Newer versions of Docker write both lists; OCI's leads to the manifests.
        (
            Form { oci: true, .. },
            Selection::All | Selection::OciArchive(_) | Selection::OciDir(_),
        ) => {
            let source = match path {
                Some(dir) if dir.is_dir() => LocalSource::OciDirectory(dir),
                file => LocalSource::OciArchive(file),
            };
            policy.check_local(store, source)?;
            oci::load(store, &members, platform, selection, progress)
        }
        (Form { docker: true, .. }, Selection::All | Selection::Docker(_)) => {
            policy.check_local(store, LocalSource::DockerArchive)?;
            docker::load(store, &members, selection, progress)
        }
        (Form { directory: Some(dir), .. }, Selection::All | Selection::Directory) => {
            policy.check_local(store, LocalSource::Directory(dir))?;
            directory::load(store, &members, platform, progress)
        }
        (_, Selection::All) => Err(unknown_format()),
        (_, Selection::Docker(_)) => Err(no_such_form("an archive in Docker's form")),
        (_, Selection::OciArchive(_) | Selection::OciDir(_)) => Err(no_such_form("an OCI layout")),
        (_, Selection::Directory) => Err(no_such_form("a directory with the files of an image")),
    }
}

/// What an archive can be read as.
struct Form<'a> {
    oci: bool,
    docker: bool,
    directory: Option<&'a Path>,
}

fn form_of<'a>(members: &Members, path: Option<&'a Path>) -> Result<Form<'a>> {
    let has_list = members.contains(docker::LIST);
    let directory = match path {
        // One image's manifest has the same name as Docker's list.
        Some(dir) if has_list && !docker::has_list(members)? => Some(dir),
        _ => None,
    };
    let docker = has_list && directory.is_none();
    Ok(Form { oci: members.contains("index.json"), docker, directory })
}

fn no_such_form(form: &str) -> Error {
    Error::new(Kind::Invalid, format!("it is not {form}"))
        .hint("`barge load -i PATH` finds out what it is")
}

fn unknown_format() -> Error {
    Error::new(
        Kind::Invalid,
        "payload does not match any of the supported image formats: oci-archive, docker-archive, oci-dir, docker-dir",
    )
    .hint("for the archive of a root file system use `barge import`")
}
