//! Volumes: `/volumes/…`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::model::rest::volume;
use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use crate::engine::volumes::{self, VolumeUse, check_filters, is_wanted};
use crate::engine::{Engine, RemoveOptions};
use crate::error::{Error, Kind, Result};
use crate::spec::volume::VolumeSpec;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/volumes", How::Look(list)),
    route("POST", "/volumes/create", How::Change(create)),
    route("POST", "/volumes/prune", How::Change(prune)),
    route("GET", "/volumes/{name}", How::Look(inspect)),
    // Only the volumes of swarms can be changed.
    route("PUT", "/volumes/{name}", How::Swarm),
    route("DELETE", "/volumes/{name}", How::Change(remove)),
];

/// What a volume is to be.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Wanted {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

fn list(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let filters = call.query.filters()?;
    check_filters(&filters)?;
    let all = volumes::list(engine.store())?;
    let mut shown = Vec::new();
    for found in &all {
        if is_wanted(found, &filters, &all)? {
            shown.push(volume::document(found));
        }
    }
    Ok(Reply::json(&json!({ "Volumes": shown, "Warnings": null })))
}

fn create(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let (name, spec) = wanted(call)?;
    let driver = spec.driver().to_owned();
    // One that is there already is what was asked for, unless another driver has made it.
    let name = engine.create_volume(name.as_deref(), spec, true)?;
    let found = exact(engine, &name)?;
    if found.volume.spec.driver() != driver {
        let own = found.volume.spec.driver();
        let text = format!(
            "a volume named {name} already exists with the {own} driver: choose a different volume name"
        );
        return Err(Error::new(Kind::Conflict, text));
    }
    Ok(Reply::created(&volume::document(&found)))
}

/// Decodes what a volume is to be: its name, if it has one, and the rest.
pub(super) fn wanted(call: &mut Call) -> Result<(Option<String>, VolumeSpec)> {
    let wanted: Wanted = call.json()?;
    let mut spec = VolumeSpec {
        driver: String::new(),
        labels: wanted.labels.unwrap_or_default(),
        options: wanted.driver_opts.unwrap_or_default(),
    };
    spec.set_driver(wanted.driver.as_deref().filter(|it| !it.is_empty()).unwrap_or("local"));
    Ok((wanted.name.filter(|name| !name.is_empty()), spec))
}

fn inspect(engine: &Engine, call: &mut Call) -> Result<Reply> {
    Ok(Reply::json(&volume::document(&exact(engine, call.name())?)))
}

/// To Docker, force means that a volume may be missing, not that containers go with it.
fn remove(engine: &Engine, call: &mut Call) -> Result<Reply> {
    match exact(engine, call.name()) {
        Err(error) if error.kind() == Kind::NotFound && call.query.is_set("force") => {}
        found => {
            engine.remove_volume(&found?.volume.name, RemoveOptions::default())?;
        }
    }
    Ok(Reply::done())
}

fn prune(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let mut filters = call.query.filters()?;
    // Before 1.42 there was no telling them apart.
    let mut all = call.version.minor < 42;
    if let Some(index) = filters.iter().position(|filter| filter.key == "all") {
        all = filters.remove(index).truth()?;
    }
    check_filters(&filters)?;
    let pruned = engine.prune_volumes(|found| {
        let unused = found.users.is_empty() && (all || found.volume.anonymous);
        Ok(unused && is_wanted(found, &filters, &[])?)
    })?;
    Ok(Reply::json(&volume::pruned(&pruned)))
}

/// Finds a volume by its whole name: compose asks whether there is one before it makes it.
fn exact(engine: &Engine, name: &str) -> Result<VolumeUse> {
    let missing = || Error::new(Kind::NotFound, format!("get {name}: no such volume"));
    match volumes::lookup(engine.store(), name) {
        Ok(found) if found.volume.name == name => Ok(found),
        Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::Conflict) => Err(error),
        _ => Err(missing()),
    }
}
