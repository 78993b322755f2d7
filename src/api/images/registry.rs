//! What registries are asked: `GET /images/search`, `GET /distribution/NAME/json`, `POST /auth`.

use serde_json::json;

use crate::api::credentials::{self, Proof};
use crate::api::reply::Reply;
use crate::api::request::Call;
use crate::engine::Engine;
use crate::engine::images::{self, RegistryOptions, SearchHit, SearchOptions};
use crate::error::{Error, Kind, Result};
use crate::spec::reference::{DEFAULT_REGISTRY, Reference};

/// What Docker's clients call its own registry.
const DOCKER_ADDRESS: &str = "https://index.docker.io/v1/";

pub(super) fn search(_: &Engine, call: &mut Call) -> Result<Reply> {
    let Some(term) = call.query.get("term").map(str::to_owned) else {
        return Err(Error::new(Kind::Invalid, "no term is given to search for"));
    };
    let mut options = SearchOptions {
        limit: call.query.parse("limit")?.filter(|limit| *limit > 0),
        registry: credentials::of_request(call, DEFAULT_REGISTRY)?,
        ..SearchOptions::default()
    };
    for filter in call.query.filters()? {
        match &*filter.key {
            "is-official" => options.official = Some(filter.truth()?),
            "is-automated" => options.automated = Some(filter.truth()?),
            "stars" => {
                options.stars = filter.value.parse().map_err(|_| {
                    Error::new(Kind::Invalid, format!("invalid filter 'stars={}'", filter.value))
                })?;
            }
            key => return Err(Error::new(Kind::Invalid, format!("invalid filter '{key}'"))),
        }
    }
    let found = images::search(&term, &options)?;
    let hit = |hit: &SearchHit| {
        let name = hit.name.parse::<Reference>();
        json!({
            "star_count": hit.stars,
            "is_official": hit.official,
            "name": name.map_or_else(|_| hit.name.clone(), |name| name.familiar_repository()),
            "is_automated": hit.automated,
            "description": hit.description,
        })
    };
    Ok(Reply::json(&found.hits.iter().map(hit).collect::<Vec<_>>()))
}

pub(super) fn distribution(_: &Engine, call: &mut Call) -> Result<Reply> {
    let name: Reference = call.name().parse()?;
    let options = credentials::of_request(call, name.registry())?;
    let found = images::distribution(&name, &options)?;
    Ok(Reply::json(&json!({
        "Descriptor": {
            "mediaType": found.media_type,
            "digest": found.digest,
            "size": found.size,
        },
        "Platforms": found.platforms,
    })))
}

pub(super) fn auth(_: &Engine, call: &mut Call) -> Result<Reply> {
    let proof: Proof = call.json()?;
    let registry = match proof.serveraddress.as_str() {
        "" | DOCKER_ADDRESS => DEFAULT_REGISTRY,
        other => other,
    };
    if proof.username.is_empty() || proof.password.is_empty() {
        return Err(Error::new(Kind::Unauthorized, "no user name or no password is given"));
    }
    let who = (proof.username.as_str(), proof.password.as_str());
    let token = images::check_login(registry, who, &RegistryOptions::default())?;
    Ok(Reply::json(&json!({
        "Status": "Login Succeeded",
        "IdentityToken": token.unwrap_or_default(),
    })))
}
