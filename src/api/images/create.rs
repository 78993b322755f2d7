//! `POST /images/create`: images from registries, or from archives of root file systems.

use std::io::BufReader;

use serde_json::json;

use super::progress::{Layers, Way};
use crate::api::lines::Lines;
use crate::api::reply::Reply;
use crate::api::request::Call;
use crate::api::{credentials, names};
use crate::engine::Engine;
use crate::engine::images::{self, ImportOptions, ImportSource, PullOptions, PullPolicy, Silent};
use crate::error::{Error, Kind, Result};
use crate::spec::change::ImageChange;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::image::Image;

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

pub(super) fn create(engine: &Engine, call: &mut Call) -> Result<Reply> {
    match (call.query.get("fromImage").map(str::to_owned), call.query.get("fromSrc")) {
        (Some(name), _) => pull(engine.store(), call, &name),
        (None, Some(_)) => import(engine.store(), call),
        (None, None) => Err(Error::new(Kind::Invalid, "neither fromImage nor fromSrc is given")),
    }
}

fn pull(store: &Store, call: &mut Call, name: &str) -> Result<Reply> {
    let tag = call.query.get("tag").map(str::to_owned);
    let wanted = names::complete(name, tag.as_deref())?;
    let registry = credentials::of_request(call, wanted.registry())?;
    let platform = call.query.parse::<Platform>("platform")?;
    let options =
        PullOptions { policy: PullPolicy::Always, platform, registry, ..PullOptions::default() };
    let lines = Lines::new(call);
    let done = match tag.is_none() && !names::has_tag(name) {
        true => pull_all(store, &wanted, &options, &lines),
        false => {
            pull_one(store, &wanted, &options, &lines).map_err(|error| refused(&wanted, error))
        }
    };
    lines.end(done)
}

/// Pulls all tags of a repository.
fn pull_all(
    store: &Store,
    repository: &Reference,
    options: &PullOptions,
    lines: &Lines<'_>,
) -> Result<()> {
    let tags = images::tags(repository, &options.registry);
    for tag in tags.map_err(|error| refused(repository, error))? {
        pull_one(store, &repository.with_tag(&tag)?, options, lines)?;
    }
    Ok(())
}

fn pull_one(
    store: &Store,
    wanted: &Reference,
    options: &PullOptions,
    lines: &Lines<'_>,
) -> Result<()> {
    let name = wanted.to_string();
    let before = store.images().find(&name)?;
    let first = json!({
        "status": format!("Pulling from {}", wanted.path()),
        "id": wanted.tag_or_digest(),
    });
    let layers = Layers::new(lines, Way::In, Some(first));
    let (image, _) = images::pull_named(store, &name, options, &layers)?;
    layers.begin();
    if let Some(digest) = digest_of(store, &image, wanted)? {
        lines.write(&json!({ "status": format!("Digest: {digest}") }));
    }
    let word = match before {
        Some(before) if before.id == image.id => "Image is up to date",
        _ => "Downloaded newer image",
    };
    lines.write(&json!({ "status": format!("Status: {word} for {}", wanted.familiar()) }));
    Ok(())
}

/// Returns the digest that the registry has an image under.
fn digest_of(store: &Store, image: &Image, name: &Reference) -> Result<Option<String>> {
    if let Some(digest) = name.digest() {
        return Ok(Some(digest.to_string()));
    }
    let named = store.images().with_names(image.clone())?;
    // Of an image for several platforms there is the list's and its own; the list's was asked for.
    let is_there = |it: &&Reference| it.repository() == name.repository();
    let own = image.manifest_digest.as_ref();
    let known: Vec<_> =
        named.digests.iter().filter(is_there).filter_map(Reference::digest).collect();
    let other = known.iter().find(|digest| own != Some(**digest));
    Ok(other.or(known.first()).map(ToString::to_string))
}

/// Says in Docker's words that there is nothing to pull.
fn refused(name: &Reference, error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => {
            let text = format!("manifest for {} not found: manifest unknown", name.familiar());
            Error::new(Kind::NotFound, text).caused_by(error)
        }
        // Docker's clients take 401 for their own login.
        Kind::Unauthorized => {
            let text = format!("pull access denied for {}", name.familiar_repository());
            Error::new(Kind::NotFound, text).caused_by(error)
        }
        _ => error,
    }
}

fn import(store: &Store, call: &mut Call) -> Result<Reply> {
    let source = call.query.get("fromSrc").unwrap_or_default().to_owned();
    let name = call.query.get("repo");
    let name = name.map(|name| names::complete(name, call.query.get("tag"))).transpose()?;
    let changes = call.query.all("changes").flat_map(str::lines);
    let changes = changes.filter(|change| !change.trim().is_empty()).map(str::parse);
    let options = ImportOptions {
        name,
        changes: changes.collect::<Result<Vec<ImageChange>>>()?,
        message: Some(match call.query.get("message") {
            Some(text) => text.to_owned(),
            None => format!("Imported from {source}"),
        }),
        platform: call.query.parse::<Platform>("platform")?,
        signature_policy: None,
    };
    let image = if source == "-" {
        let body = Box::new(BufReader::with_capacity(CHUNK, call.take_body()));
        images::import(store, ImportSource::Stream(body), &options, &Silent)?
    } else {
        let has_scheme = source.starts_with("http://") || source.starts_with("https://");
        let url = if has_scheme { source } else { format!("http://{source}") };
        images::import(store, ImportSource::Url(&url), &options, &Silent)?
    };
    let lines = Lines::new(call);
    lines.write(&json!({ "status": image.id }));
    lines.end(Ok(()))
}
