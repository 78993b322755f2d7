//! Secrets and configs: `/secrets/…`, `/configs/…`.
//!
//! Docker has both in swarms only; here they are this machine's.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::model::rest::secret;
use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use crate::engine::Engine;
use crate::engine::configs::Relabeled;
use crate::engine::secrets::NewSecret;
use crate::error::{Error, Kind, Result};
use crate::spec::filter;
use crate::store::secret::Kept;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/secrets", How::Look(|engine, call| list(engine, call, Kept::Secret))),
    route(
        "POST",
        "/secrets/create",
        How::Change(|engine, call| create(engine, call, Kept::Secret)),
    ),
    route("GET", "/secrets/{id}", How::Look(|engine, call| inspect(engine, call, Kept::Secret))),
    route(
        "DELETE",
        "/secrets/{id}",
        How::Change(|engine, call| remove(engine, call, Kept::Secret)),
    ),
    route(
        "POST",
        "/secrets/{id}/update",
        How::Change(|engine, call| update(engine, call, Kept::Secret)),
    ),
    route("GET", "/configs", How::Look(|engine, call| list(engine, call, Kept::Config))),
    route(
        "POST",
        "/configs/create",
        How::Change(|engine, call| create(engine, call, Kept::Config)),
    ),
    route("GET", "/configs/{id}", How::Look(|engine, call| inspect(engine, call, Kept::Config))),
    route(
        "DELETE",
        "/configs/{id}",
        How::Change(|engine, call| remove(engine, call, Kept::Config)),
    ),
    route(
        "POST",
        "/configs/{id}/update",
        How::Change(|engine, call| update(engine, call, Kept::Config)),
    ),
];

/// Decodes what a secret or a config is to be.
#[cfg(any(fuzzing, test))]
pub(super) fn read(call: &mut Call) {
    drop(Wanted::read(call).and_then(|wanted| wanted.data(Kept::Secret)));
}

/// What a secret or a config is to be.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Wanted {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    data: Option<String>,
    driver: Option<Driver>,
    templating: Option<Driver>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Driver {
    name: String,
    options: Option<BTreeMap<String, String>>,
}

impl Wanted {
    /// Reads what is asked for; only services of a swarm have templates filled in.
    fn read(call: &mut Call) -> Result<Self> {
        let wanted: Self = call.json()?;
        match wanted.templating.as_ref().map(|driver| driver.name.as_str()) {
            None | Some("") => Ok(wanted),
            Some(driver) => {
                let text = format!("templates ({driver}) are not filled in by barge");
                Err(Error::new(Kind::Unsupported, text).hint("leave Templating out"))
            }
        }
    }

    /// Decodes the data.
    fn data(&self, kept: Kept) -> Result<Vec<u8>> {
        let what = kept.as_str();
        let invalid = |_| Error::new(Kind::Invalid, format!("the data of a {what} must be base64"));
        BASE64_STANDARD.decode(self.data.as_deref().unwrap_or_default()).map_err(invalid)
    }
}

fn list(engine: &Engine, call: &mut Call, kept: Kept) -> Result<Reply> {
    const KEYS: [&str; 4] = ["id", "label", "name", "names"];
    let filters = call.query.filters()?;
    if let Some(filter) = filters.iter().find(|filter| !KEYS.contains(&&*filter.key)) {
        return Err(Error::new(Kind::Invalid, format!("invalid filter '{}'", filter.key)));
    }
    let mut all = Vec::new();
    for found in engine.store().kept(kept).list()? {
        let is_wanted = filter::passes(&filters, |key, value| {
            Ok(match key {
                "id" => found.id.starts_with(value),
                "label" => filter::label_matches(&found.labels, value),
                "names" => found.name == value,
                _ => found.name.starts_with(value),
            })
        })?;
        if is_wanted {
            all.push(secret::document(kept, &found));
        }
    }
    Ok(Reply::json(&all))
}

fn create(engine: &Engine, call: &mut Call, kept: Kept) -> Result<Reply> {
    let wanted = Wanted::read(call)?;
    let data = wanted.data(kept)?;
    let labels = wanted.labels.unwrap_or_default();
    let id = match kept {
        Kept::Config => engine.create_config(&wanted.name, &data, labels)?,
        Kept::Secret => {
            let driver = wanted.driver.unwrap_or_default();
            engine.create_secret(NewSecret {
                name: wanted.name,
                data,
                labels,
                driver: driver.name,
                options: driver.options.unwrap_or_default(),
                ..NewSecret::default()
            })?
        }
    };
    Ok(Reply::created(&json!({ "ID": id })))
}

fn inspect(engine: &Engine, call: &mut Call, kept: Kept) -> Result<Reply> {
    Ok(Reply::json(&secret::document(kept, &engine.store().kept(kept).lookup(call.name())?)))
}

fn remove(engine: &Engine, call: &mut Call, kept: Kept) -> Result<Reply> {
    match kept {
        Kept::Secret => {
            engine.remove_secret(call.name())?;
        }
        Kept::Config => {
            engine.remove_config(call.name())?;
        }
    }
    Ok(Reply::done())
}

fn update(engine: &Engine, call: &mut Call, kept: Kept) -> Result<Reply> {
    let version = call.query.parse("version")?.ok_or_else(|| {
        let text = format!("invalid {} version: there is none", kept.as_str());
        Error::new(Kind::Invalid, text).hint("say by `version` which one is to be changed")
    })?;
    let wanted = Wanted::read(call)?;
    let wanted = Relabeled {
        version,
        name: wanted.name,
        labels: wanted.labels.unwrap_or_default(),
        data: wanted.data.filter(|data| !data.is_empty()),
    };
    engine.relabel(kept, call.name(), &wanted)?;
    Ok(Reply::empty(StatusCode::OK))
}
