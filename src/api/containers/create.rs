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
    let mut spec = spec::container(asked, engine.host().rootless)?;
    if let Some(text) = call.query.get("name") {
        spec.name = Some(name::parse(text.strip_prefix('/').unwrap_or(text))?);
    }
    spec.platform = call.query.get("platform").map(str::parse).transpose()?;
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
