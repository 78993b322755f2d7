//! `GET /system/df`: what takes how much space.

use serde_json::{Value, json};

use super::model::docker;
use super::model::rest::usage::{self, Kinds};
use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use crate::build;
use crate::engine::{ContainerSize, Engine, now};
use crate::error::{Error, Kind, Result};

pub(super) const ROUTES: &[Route] = &[route("GET", "/system/df", How::Look(df))];

/// The first version that has sums of each kind; those after it have nothing else.
const SUMS: u16 = 52;

fn df(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let kinds = kinds(call)?;
    let used = engine.disk_usage()?;
    let cache = build::cache_use(engine)?;
    let (store, now) = (engine.store(), now());
    let ids = docker::NetworkIds::of(store)?;
    let mut containers = Vec::new();
    for (found, own) in &used.each_container {
        let image = store.images().get(&found.config.image_id)?;
        let all = own + image.map_or(0, |image| image.size);
        let size = ContainerSize { own: *own, all };
        containers.push(docker::summary(store, found, now, Some(size), &ids, call.version.minor));
    }
    let minor = call.version.minor;
    let verbose = call.query.is_set("verbose");
    let mut document = match minor {
        ..=SUMS if minor < SUMS || !verbose => {
            usage::lists(&used, &cache, containers.clone(), kinds, minor)
        }
        _ => json!({}),
    };
    if let (true, Value::Object(document)) = (minor >= SUMS, &mut document) {
        document.extend(usage::sums(&used, &cache, containers, kinds, verbose, minor));
    }
    Ok(Reply::json(&document))
}

fn kinds(call: &Call) -> Result<Kinds> {
    let mut kinds = Kinds::NONE;
    for word in call.query.all("type") {
        match word {
            "image" => kinds.images = true,
            "container" => kinds.containers = true,
            "volume" => kinds.volumes = true,
            "build-cache" => kinds.builds = true,
            _ => return Err(Error::new(Kind::Invalid, format!("unknown object type: {word}"))),
        }
    }
    Ok(if kinds == Kinds::NONE { Kinds::ALL } else { kinds })
}
