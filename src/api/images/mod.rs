//! Images: `/images/…`, `/distribution/…` and `/auth`.

mod archive;
mod attestations;
mod create;
pub(super) mod progress;
mod push;
mod registry;

use hyper::StatusCode;

use super::model::rest::image::{self, Counted};
use super::names;
use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use crate::engine::Engine;
use crate::engine::images::{self, ListOptions, PruneOptions, RemoveOptions};
use crate::error::{Error, Kind, Result};
use crate::spec::filter::Filter;
use crate::store::image::Removal;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/images/json", How::Look(list)),
    route("GET", "/images/search", How::Look(registry::search)),
    route("GET", "/images/get", How::Work(archive::save_several)),
    route("POST", "/images/create", How::Work(create::create)),
    route("POST", "/images/load", How::Work(archive::load)),
    route("POST", "/images/prune", How::Change(prune)),
    route("GET", "/images/{name...}/json", How::Look(inspect)),
    route("GET", "/images/{name...}/history", How::Look(history)),
    route("GET", "/images/{name...}/attestations", How::Look(attestations::attestations)),
    route("GET", "/images/{name...}/get", How::Work(archive::save)),
    route("POST", "/images/{name...}/push", How::Work(push::push)),
    route("POST", "/images/{name...}/tag", How::Change(tag)),
    route("DELETE", "/images/{name...}", How::Change(remove)),
    route("GET", "/distribution/{name...}/json", How::Look(registry::distribution)),
    route("POST", "/auth", How::Look(registry::auth)),
];

/// The first minor version in which a list says how many containers each image has.
const COUNTED: u16 = 51;

fn list(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let mut filters = call.query.filters()?;
    for filter in &mut filters {
        if matches!(&*filter.key, "before" | "since") {
            filter.value = names::image(engine.store(), &filter.value)?;
        }
    }
    // Clients before 1.25 say it so.
    if let Some(name) = call.query.get("filter") {
        let (key, value) = ("reference".to_owned(), name.to_owned());
        filters.push(Filter { key, value, negated: false });
    }
    let shares = call.query.is_set("shared-size");
    let counts = shares || call.version.minor >= COUNTED;
    let options = ListOptions { filters, name: None, usage: counts };
    let listing = images::list(engine.store(), &options)?;
    let counted = |id| {
        let usage = listing.usage.get(id);
        Counted { containers: usage, shared: usage.filter(|_| shares) }
    };
    let rows: Vec<_> = listing
        .images
        .iter()
        .filter(|named| !named.image.is_list())
        .map(|named| image::summary(named, counted(&named.image.id), call.version.minor))
        .collect();
    Ok(Reply::json(&rows))
}

fn inspect(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let name = names::image(engine.store(), call.name())?;
    let found = images::inspect(engine.store(), &name);
    let found = found.map_err(|error| names::unknown(call.name(), error))?;
    Ok(Reply::json(&image::inspect(&found, call.version.minor)))
}

fn history(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let name = names::image(engine.store(), call.name())?;
    let steps = images::history(engine.store(), &name);
    let steps = steps.map_err(|error| names::unknown(call.name(), error))?;
    Ok(Reply::json(&image::history(&steps)))
}

fn tag(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let repository = call.query.get("repo").unwrap_or_default();
    let new = names::complete(repository, call.query.get("tag"))?;
    let name = names::image(engine.store(), call.name())?;
    let tagged = images::tag(engine.store(), &name, &new.to_string());
    tagged.map_err(|error| names::unknown(call.name(), error))?;
    Ok(Reply::empty(StatusCode::CREATED))
}

/// To Docker, force does not mean that containers go with their image.
fn remove(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let store = engine.store();
    let name = names::image(store, call.name())?;
    let force = call.query.is_set("force");
    let known = store.images().lookup(&name);
    let image = known.map_err(|error| names::unknown(call.name(), error))?;
    let is_used = images::is_used(store, &image.id)?;
    let (_, reference) = store.images().find_named(&name)?.unwrap_or((image.clone(), None));
    if force && is_used {
        // It stays as long as a container has it, without a name.
        let names: Vec<String> = reference.iter().map(ToString::to_string).collect();
        let gone = images::untag(store, image.id.hex(), &names)?;
        let done = gone.into_iter().map(Removal::Untagged).collect();
        let removals = images::Removals { done, ..images::Removals::default() };
        return Ok(Reply::json(&image::removals(&removals)));
    }
    let mut removed = images::remove(engine, &[name], RemoveOptions { force, ignore: false })?;
    match removed.failures.pop() {
        Some(error) => Err(error),
        None => Ok(Reply::json(&image::removals(&removed))),
    }
}

fn prune(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let mut filters = call.query.filters()?;
    // `dangling=false` asks for all that nobody uses, not for those with names only.
    let all = match filters.iter().position(|filter| filter.key == "dangling") {
        Some(index) => !filters.remove(index).truth()?,
        None => false,
    };
    let options = PruneOptions { all, filters };
    let removed = images::prune(engine, &options)?;
    match removed.failures.first() {
        Some(error) if removed.done.is_empty() => {
            Err(Error::new(Kind::Internal, error.to_string()))
        }
        _ => Ok(Reply::json(&image::pruned(&removed))),
    }
}
