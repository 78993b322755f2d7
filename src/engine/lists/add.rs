//! `manifest add`: images into a list.

use std::path::PathBuf;

use crate::engine::images::{RegistryOptions, attempt};
use crate::error::{Error, Kind, Result};
use crate::image::artifact::{MemberOptions, prepare};
use crate::image::list::{Described, Wanted, choose, local, members};
use crate::spec::oci::{Annotations, Descriptor, MemberChange};
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::list::List;
use crate::store::registries;

/// How images are added.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// All members of lists that are added, not only the one for this machine.
    pub all: bool,
    /// What is said otherwise of the images.
    pub change: MemberChange,
    /// Annotations of the list itself.
    pub index_annotations: Annotations,
    /// How to talk to registries.
    pub registry: RegistryOptions,
}

/// How an artifact is made of files and added.
#[derive(Clone, Debug, Default)]
pub struct AddFilesOptions {
    /// How it is made.
    pub artifact: MemberOptions,
    /// The image that it is about, by name or ID.
    pub subject: Option<String>,
    /// What is said otherwise of it.
    pub change: MemberChange,
    /// How to talk to registries.
    pub registry: RegistryOptions,
}

/// Makes an artifact of files and adds it to a list.
pub fn add_files(
    store: &Store,
    list: &str,
    files: &[PathBuf],
    options: &AddFilesOptions,
) -> Result<List> {
    let list = store.lists().lookup(list)?;
    let mut artifact = options.artifact.clone();
    if let Some(subject) = &options.subject {
        artifact.subject = subject_of(store, subject, &options.registry)?;
    }
    let prepared = prepare(store, files, &artifact)?;
    let kept = store.shared()?;
    let (mut descriptor, member) = prepared.publish(store, &kept)?;
    options.change.apply(&mut descriptor);
    let add = |list: &mut List| {
        list.add(descriptor, member);
        Ok(())
    };
    store.lists().change(&list.id, add, &kept)
}

fn subject_of(store: &Store, text: &str, registry: &RegistryOptions) -> Result<Option<Descriptor>> {
    let described = match resolve(store, text, false, registry)? {
        Source::There(described) => described,
        Source::Here(text) => look(store, &text, false)?,
    };
    // No more is to be said of a subject than what it is.
    Ok(described
        .into_iter()
        .next()
        .map(|(known, _)| Descriptor::new(&known.media_type, known.digest, known.size)))
}

/// Where an image that is to be added was found.
pub(super) enum Source {
    /// In this store, under this name or ID.
    Here(String),
    /// In a registry.
    There(Vec<Described>),
}

/// Adds images to a list: what a registry has of them stays there.
pub fn add(store: &Store, list: &str, images: &[String], options: &AddOptions) -> Result<List> {
    let list = store.lists().lookup(list)?;
    let sources = images
        .iter()
        .map(|image| resolve(store, image, options.all, &options.registry))
        .collect::<Result<_>>()?;
    let added = add_sources(store, &list, sources, options.all, &options.change)?;
    if options.index_annotations.is_empty() {
        return Ok(added);
    }
    let kept = store.shared()?;
    let annotate = |list: &mut List| {
        list.index.annotations.extend(options.index_annotations.clone());
        Ok(())
    };
    store.lists().change(&list.id, annotate, &kept)
}

/// Finds an image here, or else asks its registry.
pub(super) fn resolve(
    store: &Store,
    text: &str,
    all: bool,
    registry: &RegistryOptions,
) -> Result<Source> {
    let name = match text.split_once(':') {
        Some(("docker", rest)) if rest.starts_with("//") => &rest[2..],
        Some(("containers-storage", name)) => return Ok(Source::Here(name.to_owned())),
        Some(("oci" | "oci-archive" | "docker-archive" | "docker-daemon" | "dir", _)) => {
            return Err(Error::new(
                Kind::Unsupported,
                format!("cannot add `{text}` to a manifest list from where it is"),
            )
            .hint("load it first: barge load"));
        }
        _ if store.lists().find(text)?.is_some() || store.images().find(text)?.is_some() => {
            return Ok(Source::Here(text.to_owned()));
        }
        _ => text,
    };
    let wanted = if all { Wanted::All } else { Wanted::For(Platform::host()) };
    let names = registries::read()?.resolve(name)?.names;
    attempt(name, &names, |name| members(name, &wanted, registry)).map(Source::There)
}

/// Adds what was found to a list, all or nothing.
pub(super) fn add_sources(
    store: &Store,
    list: &List,
    sources: Vec<Source>,
    all: bool,
    change: &MemberChange,
) -> Result<List> {
    // From here on nothing that is found here is removed.
    let kept = store.shared()?;
    let mut found = Vec::new();
    for source in sources {
        match source {
            Source::There(described) => found.extend(described),
            Source::Here(text) => found.extend(look(store, &text, all)?),
        }
    }
    for (descriptor, _) in &mut found {
        change.apply(descriptor);
    }
    let add = |list: &mut List| {
        for (descriptor, member) in found {
            list.add(descriptor, member);
        }
        Ok(())
    };
    store.lists().change(&list.id, add, &kept)
}

/// Describes an image of this store, or members of a list of this store.
fn look(store: &Store, text: &str, all: bool) -> Result<Vec<Described>> {
    let Some((list, _)) = store.lists().find(text)? else {
        return local(store, &store.images().lookup(text)?).map(|described| vec![described]);
    };
    let chosen = match all {
        true => list.index.manifests.iter().collect(),
        false => vec![choose(&list.index, &Platform::host())?],
    };
    let member = |digest| list.members.get(digest).cloned().unwrap_or_default();
    Ok(chosen
        .into_iter()
        .map(|descriptor| (descriptor.clone(), member(&descriptor.digest)))
        .collect())
}
