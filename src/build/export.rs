//! What else becomes of a result: files, archives, images in registries.
//!
//! A result is given away once for each `--output`. Whoever serves somebody else gives a stream or a
//! directory to write to; a command gives what its user has named.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::built::{Built, BuiltImage};
use super::copy::{Item, Job, Tree};
use super::squash;
use crate::engine::images::{self, Form, Progress, PushOptions, RegistryOptions, SigningOptions};
use crate::engine::lists::{self, ListPushOptions, Words};
use crate::engine::{Engine, images::Pushed};
use crate::error::{Context, Error, Kind, Result};
use crate::image::push::push_member;
use crate::image::save::{SaveFormat, SaveTarget, SavedImage, save, save_list, whole_file};
use crate::image::tree::TreeStream;
use crate::spec::build_output::{BuildOutput, OutputKind};
use crate::spec::compression::Compression;
use crate::spec::digest::Digest;
use crate::spec::manifest::ManifestFormat;
use crate::spec::oci::OCI_INDEX;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::store::file;
use crate::store::image::Image;
use crate::sys::root::Root;

/// Where a result is written to.
pub enum Sink<'a> {
    /// A file or a directory, as the kind of output wants it.
    Path(&'a Path),
    /// A stream.
    Stream(&'a mut dyn Write),
}

/// What was given away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Digest of the manifest, or of the list.
    pub digest: Digest,
    /// Bytes of it.
    pub size: u64,
    /// What it is.
    pub media_type: String,
    /// Under which names, where it has some.
    pub names: Vec<String>,
}

/// Gives a result away. What goes to the store only is there already; files have no manifest: `None`.
///
/// `sink` is where `local`, `tar`, `oci` and `docker` go to; others need none.
pub fn export(
    engine: &Engine,
    built: &Built,
    output: &BuildOutput,
    sink: Option<Sink<'_>>,
    registry: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<Option<Exported>> {
    let Some(first) = built.images.first() else { return Ok(None) };
    match (output.kind, sink) {
        (OutputKind::Local, Some(Sink::Path(path))) => {
            local(engine, built, output, path).map(|()| None)
        }
        (OutputKind::Tar, Some(Sink::Path(path))) => {
            whole_file(path, |out| tar(engine, built, output, out)).map(|()| None)
        }
        (OutputKind::Tar, Some(Sink::Stream(out))) => {
            tar(engine, built, output, out).map(|()| None)
        }
        (OutputKind::Oci | OutputKind::Docker, Some(sink)) => {
            archive(engine, built, output, sink, progress)
        }
        (OutputKind::Image, _) if output.push => {
            push(engine, built, output, registry, progress).map(Some)
        }
        (OutputKind::Image | OutputKind::Docker | OutputKind::CacheOnly, _) => Ok(None),
        (OutputKind::Local | OutputKind::Tar | OutputKind::Oci, _) => {
            let id = first.image.id.short();
            Err(Error::new(Kind::Invalid, format!("there is no place for the files of image {id}"))
                .hint("name it by dest="))
        }
    }
}

/// Writes files to a directory, which may have others. They belong to who asks for them.
fn local(engine: &Engine, built: &Built, output: &BuildOutput, path: &Path) -> Result<()> {
    let context = || format!("cannot write files to {}", path.display());
    for (image, place) in places(built, output) {
        let place = path.join(place);
        std::fs::create_dir_all(&place).context(context)?;
        let layers = layers(engine, &image.image);
        if layers.is_empty() {
            continue;
        }
        let tree = Tree::Layers(layers);
        let job = Job {
            items: vec![Item::Files { tree, path: "/".to_owned(), unpack: false }],
            target: "/".to_owned(),
            chown: Some("0:0".to_owned()),
            chmod: None,
            parents: false,
            exclude: Vec::new(),
        };
        job.write(&place, &[]).context(context)?;
    }
    Ok(())
}

/// Writes files as an archive, with their owners.
fn tar(engine: &Engine, built: &Built, output: &BuildOutput, out: &mut dyn Write) -> Result<()> {
    let context = || "cannot write the files of the result";
    // Further names of the layers' files: nothing is copied.
    let draft = engine.store().draft_dir()?;
    let whole = draft.path().join("files");
    file::create_dirs(&whole, 0o755)?;
    for (image, place) in places(built, output) {
        let place = whole.join(place);
        file::create_dirs(&place, 0o755)?;
        squash::merge(&layers(engine, &image.image), &place, None, "user.overlay.opaque")
            .context(context)?;
    }
    let root = Root::open(&whole).context(context)?;
    let mut stream = TreeStream::all(&root, None).context(context)?;
    stream.write_to(out, || context().to_owned())
}

/// Returns the images, each with its directory in what is written.
fn places<'a>(
    built: &'a Built,
    output: &BuildOutput,
) -> impl Iterator<Item = (&'a BuiltImage, String)> {
    let split = output.split.unwrap_or(built.images.len() > 1);
    built.images.iter().map(move |image| {
        let place = if split { directory_of(&image.platform) } else { String::new() };
        (image, place)
    })
}

fn directory_of(platform: &Platform) -> String {
    platform.to_string().replace('/', "_")
}

fn layers(engine: &Engine, image: &Image) -> Vec<PathBuf> {
    let layers = engine.store().layers();
    image.layers.iter().rev().map(|id| layers.path(id)).collect()
}

fn archive(
    engine: &Engine,
    built: &Built,
    output: &BuildOutput,
    sink: Sink<'_>,
    progress: &dyn Progress,
) -> Result<Option<Exported>> {
    let store = engine.store();
    let is_docker = output.kind == OutputKind::Docker && output.tar;
    let format = match output.tar {
        true if is_docker => SaveFormat::DockerArchive,
        true => SaveFormat::OciArchive,
        false => SaveFormat::OciDir,
    };
    let form = Form {
        format: (!is_docker).then(|| output.format.unwrap_or(ManifestFormat::Oci)),
        // Docker's archives have plain layers.
        compression: Some(if is_docker {
            Compression::None
        } else {
            output.compression.unwrap_or(Compression::Gzip)
        }),
        level: output.level,
        force: output.force_compression,
    };
    let names: Vec<String> = names(built, output)?.iter().map(ToString::to_string).collect();
    let target = match sink {
        Sink::Path(path) => SaveTarget::Path(path),
        Sink::Stream(out) => SaveTarget::Stream(out),
    };
    let (pushed, media_type) = match (&built.list, built.images.as_slice()) {
        (Some(list), images) if !is_docker || images.len() > 1 => {
            let saved = save_list(store, list, &names, format, &form, target, progress)?;
            (Some(saved), OCI_INDEX)
        }
        (_, images) => {
            let image =
                |it: &BuiltImage| SavedImage { image: it.image.clone(), names: names.clone() };
            let images: Vec<SavedImage> = images.iter().map(image).collect();
            let format_type = form.format.unwrap_or_default().manifest_type();
            (save(store, &images, format, &form, target, progress)?.pop(), format_type)
        }
    };
    Ok(pushed.map(|Pushed { digest, size }| Exported {
        digest,
        size,
        media_type: media_type.to_owned(),
        names,
    }))
}

fn push(
    engine: &Engine,
    built: &Built,
    output: &BuildOutput,
    registry: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<Exported> {
    let names = names(built, output)?;
    if names.is_empty() {
        return Err(Error::new(Kind::Invalid, "the result has no name to be pushed under")
            .hint("name it by --tag, as in -t registry.example.com/user/name"));
    }
    let store = engine.store();
    let mut registry = registry.clone();
    if output.insecure {
        registry.tls_verify = Some(false);
    }
    let form = Form {
        format: output.format,
        compression: output.compression,
        level: output.level,
        force: output.force_compression,
    };
    let mut last = None;
    for name in &names {
        last = Some(match (&built.list, built.images.first()) {
            (Some(list), _) => {
                let words = output.format.map(Words::of);
                let signing = SigningOptions::default();
                let options =
                    ListPushOptions { members: true, words, registry: registry.clone(), signing };
                let pushed = lists::push_made(store, list, name, &options, progress)?;
                (pushed, list.document().media_type)
            }
            (None, Some(image)) => {
                let options = PushOptions {
                    registry: registry.clone(),
                    form: form.clone(),
                    signing: SigningOptions::default(),
                };
                let image = &image.image;
                let media_type =
                    output.format.or(image.format).unwrap_or_default().manifest_type().to_owned();
                let pushed = match output.by_digest {
                    true => push_member(store, image, name, &options, progress)
                        .context(|| format!("cannot push to {}", name.repository()))?,
                    false => images::push_made(store, image, name, &options, progress)?,
                };
                (pushed, media_type)
            }
            (None, None) => continue,
        });
    }
    let (Pushed { digest, size }, media_type) =
        last.ok_or_else(|| Error::new(Kind::Internal, "there is nothing to push"))?;
    let names = names.iter().map(ToString::to_string).collect();
    Ok(Exported { digest, size, media_type, names })
}

/// Returns what an output is called: as it says itself, or as the result is.
fn names(built: &Built, output: &BuildOutput) -> Result<Vec<Reference>> {
    match output.names.is_empty() {
        true => Ok(built.names.clone()),
        false => output.names.iter().map(|name| Reference::local(name)).collect(),
    }
}
