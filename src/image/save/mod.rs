//! Images into archives and directories, for `load` here and for other tools.
//!
//! The same images make the same bytes. Layers that several images share are written once.

mod directory;
mod docker;
mod jobs;
mod members;
mod oci;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;

use self::jobs::{Job, Source};
pub use self::members::whole_file;
use self::members::{Members, Output};
use super::manifest::Blob;
use super::outgoing::{Form, Outgoing, Part, Ready};
use super::pack::pack;
use super::progress::{Progress, ProgressEvent};
use super::push::Pushed;
use super::stream::TarStream;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::compression::Compression;
use crate::spec::digest::Digest;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::draft::Draft;
use crate::store::garbage::Parts;
use crate::store::image::Image;
use crate::store::list::List;
use crate::store::packed::Packed;

/// What images are saved as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveFormat {
    /// Docker's archive: tar streams and a list.
    #[default]
    DockerArchive,
    /// OCI's layout as an archive.
    OciArchive,
    /// OCI's layout as a directory.
    OciDir,
    /// The files of one image in a directory.
    DockerDir,
}

impl SaveFormat {
    /// Tells whether it is a directory.
    pub fn is_directory(self) -> bool {
        matches!(self, Self::OciDir | Self::DockerDir)
    }
}

impl FromStr for SaveFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "docker-archive" => Ok(Self::DockerArchive),
            "oci-archive" => Ok(Self::OciArchive),
            "oci-dir" => Ok(Self::OciDir),
            "docker-dir" => Ok(Self::DockerDir),
            _ => Err(Error::new(Kind::Invalid, format!("unknown format `{text}`"))
                .hint("write docker-archive, oci-archive, oci-dir or docker-dir")),
        }
    }
}

/// Where images are saved to.
pub enum SaveTarget<'a> {
    /// A file or a directory.
    Path(&'a Path),
    /// A stream, as into a pipe.
    Stream(&'a mut dyn Write),
}

/// An image that is saved, under these names.
#[derive(Clone, Debug)]
pub struct SavedImage {
    /// The image.
    pub image: Image,
    /// What it is called there; what an OCI layout calls it need not be a name elsewhere.
    pub names: Vec<String>,
}

impl SavedImage {
    /// Saves an image under names that it has here.
    pub fn new(image: Image, names: &[Reference]) -> Self {
        Self { image, names: names.iter().map(ToString::to_string).collect() }
    }
}

/// Saves images. Returns what their manifests are; Docker's archives have none.
pub fn save(
    store: &Store,
    images: &[SavedImage],
    format: SaveFormat,
    form: &Form,
    target: SaveTarget<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Pushed>> {
    store.gc_tmp()?;
    let mut parts = Parts::default();
    images.iter().for_each(|saved| parts.add_image(&saved.image));
    let _pin = store.pin(&parts)?;
    match target {
        SaveTarget::Path(path) if format.is_directory() => {
            let members = Members::directory(path, format == SaveFormat::DockerDir)?;
            Saver::new(store, form, members, progress).save(images, format)
        }
        SaveTarget::Path(path) => members::whole(path, |output| {
            let members = Members::archive(output);
            Saver::new(store, form, members, progress).save(images, format)
        }),
        SaveTarget::Stream(_) if format.is_directory() => {
            Err(Error::new(Kind::Invalid, "a directory cannot be written to standard output")
                .hint("name it with --output"))
        }
        SaveTarget::Stream(stream) => {
            let members = Members::archive(Output::Stream(stream));
            Saver::new(store, form, members, progress).save(images, format)
        }
    }
}

/// Saves a list with all its members that are here, as a layout of OCI.
pub fn save_list(
    store: &Store,
    list: &List,
    names: &[String],
    format: SaveFormat,
    form: &Form,
    target: SaveTarget<'_>,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let _pin = store.pin(&list.parts())?;
    let write = |members: Members<'_>| {
        let mut saver = Saver::new(store, form, members, progress);
        let pushed = saver.oci_list(list, names)?;
        saver.work_off()?;
        saver.members.finish()?;
        Ok(pushed)
    };
    match (format, target) {
        (SaveFormat::OciDir, SaveTarget::Path(path)) => write(Members::directory(path, false)?),
        (SaveFormat::OciArchive, SaveTarget::Path(path)) => {
            members::whole(path, |output| write(Members::archive(output)))
        }
        (SaveFormat::OciArchive, SaveTarget::Stream(stream)) => {
            write(Members::archive(Output::Stream(stream)))
        }
        _ => {
            Err(Error::new(Kind::Unsupported, "images for several platforms need a layout of OCI")
                .hint("save them with type=oci"))
        }
    }
}

/// What all formats need.
struct Saver<'a, 'b> {
    store: &'a Store,
    form: &'a Form,
    members: Members<'b>,
    /// What has its place, and is yet to be written.
    jobs: Vec<Job<'b>>,
    progress: &'a dyn Progress,
}

impl<'a, 'b> Saver<'a, 'b> {
    fn new(
        store: &'a Store,
        form: &'a Form,
        members: Members<'b>,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { store, form, members, jobs: Vec::new(), progress }
    }

    fn save(mut self, images: &[SavedImage], format: SaveFormat) -> Result<Vec<Pushed>> {
        let pushed = match format {
            SaveFormat::DockerArchive => self.docker_archive(images).map(|()| Vec::new()),
            SaveFormat::OciArchive | SaveFormat::OciDir => self.oci(images),
            SaveFormat::DockerDir => self.docker_dir(images),
        }?;
        self.work_off()?;
        self.members.finish()?;
        Ok(pushed)
    }

    /// Writes all blobs of an image under the names that `name_of` gives them; returns its manifest.
    fn blobs(&mut self, image: &Image, name_of: impl Fn(&Digest) -> String) -> Result<Ready> {
        let mut outgoing = Outgoing::of(self.store, image, self.form)?;
        self.progress.update(ProgressEvent::Layers(outgoing.parts.len()));
        let complete = outgoing.take_complete(self.store);
        let mut sent = Vec::new();
        for (index, part) in outgoing.parts.iter().enumerate() {
            let wanted = complete.as_ref().map(|original| &original.manifest.layers[index]);
            let packed = match wanted {
                Some(blob) if part.is_plain(blob) => self.plain(part, &name_of)?,
                Some(blob) => {
                    self.blob(blob, &name_of)?;
                    continue;
                }
                None => match part.kept(self.store) {
                    Some(kept) => {
                        self.blob(&blob_of(kept), &name_of)?;
                        kept.clone()
                    }
                    None if outgoing.compression().0 == Compression::None => {
                        self.plain(part, &name_of)?
                    }
                    None => self.packed(part, &outgoing, &name_of)?,
                },
            };
            sent.push(packed);
        }
        let config = outgoing.config_blob().digest.clone();
        self.progress.update(ProgressEvent::Config(&config));
        self.members.add_bytes(&name_of(&config), &outgoing.config)?;
        match complete {
            Some(original) => Ok(original.ready()),
            None => outgoing.manifest(&sent),
        }
    }

    /// Writes a blob that is here.
    fn blob(&mut self, blob: &Blob, name_of: impl Fn(&Digest) -> String) -> Result<()> {
        let Blob { digest, size } = blob;
        let name = name_of(digest);
        if self.members.has(&name) {
            return Ok(());
        }
        if !self.store.blobs().exists(digest) {
            return Err(missing(digest));
        }
        self.put(&name, *size, Source::Blob(digest.clone()))
    }

    /// Writes a layer's tar stream.
    fn plain(&mut self, part: &Part, name_of: impl Fn(&Digest) -> String) -> Result<Packed> {
        let (digest, size) = (&part.id.0, part.size()?);
        let name = name_of(digest);
        self.put(&name, size, Source::Layer(part.id.clone()))?;
        let digest = digest.clone();
        Ok(Packed { digest, size, compression: Compression::None, level: None })
    }

    /// Compresses a layer, first into a temporary file: its digest and size come before it.
    fn packed(
        &mut self,
        part: &Part,
        outgoing: &Outgoing,
        name_of: impl Fn(&Digest) -> String,
    ) -> Result<Packed> {
        let (compression, level) = outgoing.compression();
        // What it will be is known if it was compressed before.
        let known = part
            .packed
            .iter()
            .find(|packed| (packed.compression, packed.level) == (compression, Some(level)));
        if let Some(known) = known
            && self.members.has(&name_of(&known.digest))
        {
            return Ok(known.clone());
        }
        let (draft, packed) = compressed(self.store, part, compression, level, self.progress)?;
        let context = || format!("cannot read {}", draft.path().display());
        io::Seek::rewind(&mut draft.file()).context(context)?;
        let source = Source::Temporary(draft, packed.digest.clone());
        self.put(&name_of(&packed.digest), packed.size, source)?;
        Ok(packed)
    }
}

/// The error for a blob that is not here.
fn missing(digest: &Digest) -> Error {
    Error::new(Kind::NotFound, format!("blob {digest} is missing"))
        .hint("pull or load the image again")
}

fn blob_of(packed: &Packed) -> Blob {
    Blob { digest: packed.digest.clone(), size: packed.size }
}

/// Tells how far a blob is.
fn told<'a>(
    progress: &'a dyn Progress,
    digest: &'a Digest,
    total: u64,
) -> impl FnMut(u64) + use<'a> {
    move |done| progress.update(ProgressEvent::Layer { digest, done, total })
}

/// Compresses a layer into a temporary file.
fn compressed(
    store: &Store,
    part: &Part,
    compression: Compression,
    level: i32,
    progress: &dyn Progress,
) -> Result<(Draft, Packed)> {
    let mut blob = store.blobs().begin()?;
    let mut done = 0;
    let write = |piece: &[u8]| {
        done += piece.len() as u64;
        progress.update(ProgressEvent::Layer { digest: &part.id.0, done, total: 0 });
        blob.write_all(piece).context(|| "cannot write a temporary file")
    };
    let input = TarStream::open(store, &part.id)?;
    input
        .read_ahead(|input| pack(input, compression, level, write))
        .context(|| format!("cannot compress layer {}", part.id))?;
    let (digest, size) = blob.digest();
    let packed = Packed { digest, size, compression, level: Some(level) };
    store.remember_packed(&part.id, &packed)?;
    Ok((blob.into_draft(), packed))
}

/// Returns names in order and each once.
fn once(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).collect()
}
