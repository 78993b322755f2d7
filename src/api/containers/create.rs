//! `POST /containers/create`.

use std::path::PathBuf;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::asked::Asked;
use super::spec;
use crate::api::reply::Reply;
use crate::api::request::Call;
use crate::engine::{self, Engine};
use crate::error::{Error, Kind, Result};
use crate::spec::id::to_hex;
use crate::spec::name;
use crate::store::file;

/// Makes a container.
pub(super) fn create(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let mut asked: Asked = call.json()?;
    for option in &mut asked.host_config.security_opt {
        if let Some(profile) = option.strip_prefix("seccomp=").filter(|it| it.starts_with('{')) {
            *option = format!("seccomp={}", keep_profile(engine, profile)?.display());
        }
    }
    if asked.image.is_empty() {
        return Err(Error::new(Kind::Invalid, "no image specified"));
    }
    let links = asked.host_config.links.clone();
    let mut spec = spec::container(asked, engine.host().rootless)?;
    if let Some(text) = call.query.get("name") {
        spec.name = Some(name::parse(text.strip_prefix('/').unwrap_or(text))?);
    }
    spec.platform = call.query.get("platform").map(str::parse).transpose()?;
    for link in &links {
        spec.settings.names.hosts.extend(linked(engine, link)?);
    }
    // A client that is told that something is not there pulls the image, so nothing else may say that.
    let image = engine.store().images().find_named(&spec.image)?;
    if image.is_none() && !engine::lists::exists(engine.store(), &spec.image)? {
        return Err(no_image(&spec.image));
    }
    let id = engine.create(&spec).map_err(|error| match error.kind() {
        Kind::NotFound => error.kind_is(Kind::Invalid),
        _ => error,
    })?;
    Ok(Reply::created(&json!({ "Id": id, "Warnings": [] })))
}

/// Keeps a profile that the client has read for us: the container needs it at each start. One that is there is
/// the same, and as small as it is, it stays for the next.
fn keep_profile(engine: &Engine, profile: &str) -> Result<PathBuf> {
    let digest: [u8; 32] = Sha256::digest(profile.as_bytes()).into();
    let dir = engine.store().root().join("profiles");
    file::create_dirs(&dir, 0o700)?;
    let path = dir.join(format!("{}.json", to_hex(&digest)));
    if !path.exists() {
        file::write_atomic(&path, profile.as_bytes())?;
    }
    Ok(path)
}

fn no_image(name: &str) -> Error {
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let tag = if name[last..].contains([':', '@']) { "" } else { ":latest" };
    Error::new(Kind::NotFound, format!("No such image: {name}{tag}"))
}

/// Finds the addresses of a container that another one is linked to, as `NAME[:ALIAS]` says.
fn linked(engine: &Engine, link: &str) -> Result<Vec<(String, String)>> {
    let (name, alias) = link.split_once(':').unwrap_or((link, link));
    let name = name.strip_prefix('/').unwrap_or(name);
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    let container = super::find(engine, name).map_err(|error| error.kind_is(Kind::Invalid))?;
    let document = crate::api::model::container::inspect(engine.store(), &container);
    let networks = document["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
    let address = networks
        .values()
        .filter_map(|network| network["IPAddress"].as_str())
        .find(|address| !address.is_empty());
    let Some(address) = address else {
        return Err(Error::new(
            Kind::Invalid,
            format!("Cannot link to a non running container: /{name}"),
        ));
    };
    let mut names = vec![alias, name, container.id().short()];
    names.dedup();
    Ok(names.into_iter().map(|it| (it.to_owned(), address.to_owned())).collect())
}
