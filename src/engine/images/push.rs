//! `push`: an image to a registry, or to a file or a directory that is named like one.

use super::Progress;
use crate::engine::events::record;
use crate::engine::lists::{self, ListPushOptions, Words};
use crate::error::{Context, Error, Kind, Result};
use crate::image::push::{PushOptions, Pushed};
use crate::image::save::{SaveFormat, SaveTarget, SavedImage, save};
use crate::spec::digest::Digest;
use crate::spec::location::{ArchiveImage, Location};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::events::{Action, Event};
use crate::store::image::{Image, not_known};

/// Pushes an image; without a destination, under the name that it is called by.
///
/// Returns what it is called there and what its manifest is, as far as it has a name and a manifest.
pub fn push(
    store: &Store,
    image: &str,
    destination: Option<&str>,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<(Option<Reference>, Option<Pushed>)> {
    if store.lists().find(image)?.is_some() {
        let PushOptions { registry, signing, form } = options.clone();
        let words = form.format.map(Words::of);
        let options = ListPushOptions { members: true, words, registry, signing };
        let (name, pushed) = lists::push(store, image, destination, &options, false, progress)?;
        return Ok((Some(name), Some(pushed)));
    }
    let image_text = image;
    let image = store.images().lookup(image)?;
    let event = Event::of_image(Action::Push, image.id.hex(), destination.unwrap_or(image_text));
    let pushed = match destination_of(image_text, destination)? {
        Location::Registry(name) => {
            let pushed = crate::image::push::push(store, &image, &name, options, progress)?;
            (Some(name), Some(pushed))
        }
        elsewhere => (None, to_files(store, image, &elsewhere, options, progress)?),
    };
    record(store, &[event]);
    Ok(pushed)
}

/// Pushes an image that was just made.
pub fn push_made(
    store: &Store,
    image: &Image,
    to: &Reference,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let pushed = crate::image::push::push(store, image, to, options, progress)?;
    record(store, &[Event::of_image(Action::Push, image.id.hex(), &to.to_string())]);
    Ok(pushed)
}

/// Pushes all names of a repository, each under its tag.
pub fn push_all_tags(
    store: &Store,
    repository: &str,
    destination: Option<&str>,
    options: &PushOptions,
    progress: &dyn Progress,
    pushed: &mut dyn FnMut(&Reference, &Pushed) -> Result<()>,
) -> Result<()> {
    let invalid = |text: &str| {
        Error::new(Kind::Invalid, format!("tag can't be used with --all-tags/-a: `{text}`"))
    };
    let has_tag = |text: &str| {
        text.contains('@') || text.rsplit('/').next().unwrap_or_default().contains(':')
    };
    let words = [Some(repository), destination];
    if let Some(text) = words.into_iter().flatten().find(|text| has_tag(text)) {
        return Err(invalid(text));
    }
    let Location::Registry(to) = destination_of(repository, destination)? else {
        return Err(Error::new(Kind::Invalid, "all tags can be pushed to a registry only"));
    };
    let candidates: Vec<String> =
        Reference::candidates(repository)?.iter().map(Reference::repository).collect();
    let mut found: Vec<(Reference, Image)> = Vec::new();
    for named in store.images().list()? {
        for name in named.names {
            if candidates.contains(&name.repository()) {
                found.push((name, named.image.clone()));
            }
        }
    }
    // Of two repositories that the word may mean, the first.
    let first =
        candidates.iter().find(|one| found.iter().any(|(name, _)| name.repository() == **one));
    let Some(first) = first else { return Err(not_known(repository)) };
    found.retain(|(name, _)| name.repository() == *first);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, image) in found {
        let to = Reference::stored(&to.repository(), name.tag_or_digest())?;
        let done = crate::image::push::push(store, &image, &to, options, progress)?;
        record(store, &[Event::of_image(Action::Push, image.id.hex(), &to.to_string())]);
        pushed(&to, &done)?;
    }
    Ok(())
}

fn to_files(
    store: &Store,
    image: Image,
    to: &Location,
    options: &PushOptions,
    progress: &dyn Progress,
) -> Result<Option<Pushed>> {
    let named = |name: &Option<String>| name.iter().cloned().collect();
    let (format, path, names) = match to {
        Location::DockerArchive(path, image) => {
            let names = match image {
                Some(ArchiveImage::Named(name)) => vec![name.to_string()],
                Some(ArchiveImage::Numbered(number)) => {
                    let message = format!("cannot write an image number {number}");
                    return Err(Error::new(Kind::Invalid, message).hint("give it a name"));
                }
                None => Vec::new(),
            };
            (SaveFormat::DockerArchive, path, names)
        }
        Location::OciArchive(path, name) => (SaveFormat::OciArchive, path, named(name)),
        Location::OciDir(path, name) => (SaveFormat::OciDir, path, named(name)),
        Location::Dir(path) => (SaveFormat::DockerDir, path, Vec::new()),
        Location::Registry(name) => {
            return Err(Error::new(Kind::Internal, format!("`{name}` is no file")));
        }
    };
    let mut form = options.form.clone();
    if matches!(format, SaveFormat::OciArchive | SaveFormat::OciDir) {
        use crate::spec::manifest::ManifestFormat::Oci;
        if form.format.is_some_and(|asked| asked != Oci) {
            return Err(Error::new(
                Kind::Invalid,
                "an OCI layout has manifests of OCI's form only",
            )
            .hint("leave out --format"));
        }
        form.format = Some(Oci);
    }
    let images = [SavedImage { image, names }];
    save(store, &images, format, &form, SaveTarget::Path(path), progress)
        .map(|mut pushed| pushed.pop())
        .context(|| format!("cannot write to {}", path.display()))
}

fn destination_of(image: &str, destination: Option<&str>) -> Result<Location> {
    if destination.is_none() {
        let hex = image.strip_prefix("sha256:").unwrap_or(image);
        if Digest::from_hex(hex).is_ok() {
            return Err(Error::new(
                Kind::Invalid,
                format!("`{image}` is an ID and no destination"),
            )
            .hint(format!("say where to push it, as in: push {image} quay.io/USER/NAME")));
        }
    }
    let text = destination.unwrap_or(image);
    let location = text.parse::<Location>().context(|| format!("cannot push to `{text}`"))?;
    match &location {
        Location::Registry(name) if name.digest().is_some() => {
            Err(Error::new(Kind::Invalid, format!("cannot push to the digest of `{name}`"))
                .hint("a digest follows from the content; give a tag"))
        }
        _ => Ok(location),
    }
}
