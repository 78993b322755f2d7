//! Secrets, configs and plugins: `/secrets/…`, `/configs/…`, `/plugins/…`.
//!
//! Docker has secrets in swarms only; here they are this machine's.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::model::rest::secret;
use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use crate::engine::Engine;
use crate::engine::secrets::NewSecret;
use crate::error::{Error, Kind, Result};
use crate::spec::filter;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/secrets", How::Look(list)),
    route("POST", "/secrets/create", How::Change(create)),
    route("GET", "/secrets/{id}", How::Look(inspect)),
    route("DELETE", "/secrets/{id}", How::Change(remove)),
    route("GET", "/configs", How::Look(none)),
    route("GET", "/plugins", How::Look(none)),
];

/// What a secret is to be.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Wanted {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    data: Option<String>,
    driver: Option<Driver>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Driver {
    name: String,
    options: Option<BTreeMap<String, String>>,
}

/// There are none.
fn none(_: &Engine, _: &mut Call) -> Result<Reply> {
    Ok(Reply::json(&json!([])))
}

fn list(engine: &Engine, call: &mut Call) -> Result<Reply> {
    const KEYS: [&str; 4] = ["id", "label", "name", "names"];
    let filters = call.query.filters()?;
    if let Some(filter) = filters.iter().find(|filter| !KEYS.contains(&&*filter.key)) {
        return Err(Error::new(Kind::Invalid, format!("invalid filter '{}'", filter.key)));
    }
    let mut all = Vec::new();
    for found in engine.store().secrets().list()? {
        let is_wanted = filter::passes(&filters, |key, value| {
            Ok(match key {
                "id" => found.id.starts_with(value),
                "label" => filter::label_matches(&found.labels, value),
                "names" => found.name == value,
                _ => found.name.starts_with(value),
            })
        })?;
        if is_wanted {
            all.push(secret::document(&found));
        }
    }
    Ok(Reply::json(&all))
}

fn create(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let wanted: Wanted = call.json()?;
    let invalid = |_| Error::new(Kind::Invalid, "the data of a secret must be base64");
    let data = BASE64_STANDARD.decode(wanted.data.unwrap_or_default()).map_err(invalid)?;
    let driver = wanted.driver.unwrap_or_default();
    let id = engine.create_secret(NewSecret {
        name: wanted.name,
        data,
        labels: wanted.labels.unwrap_or_default(),
        driver: driver.name,
        options: driver.options.unwrap_or_default(),
        ..NewSecret::default()
    })?;
    Ok(Reply::created(&json!({ "ID": id })))
}

fn inspect(engine: &Engine, call: &mut Call) -> Result<Reply> {
    Ok(Reply::json(&secret::document(&engine.store().secrets().lookup(call.name())?)))
}

fn remove(engine: &Engine, call: &mut Call) -> Result<Reply> {
    engine.remove_secret(call.name())?;
    Ok(Reply::done())
}
