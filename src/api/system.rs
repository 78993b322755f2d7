//! Endpoints of the service itself.

use hyper::StatusCode;
use serde_json::json;

use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use super::version::{NEWEST, OLDEST};
use crate::engine::Engine;
use crate::error::Result;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/_ping", How::Look(ping)),
    route("HEAD", "/_ping", How::Look(ping)),
    route("GET", "/version", How::Look(version)),
];

/// `GET /_ping`: says that somebody is there, and in the header fields what that is.
fn ping(_: &Engine, _: &mut Call) -> Result<Reply> {
    Ok(Reply::new(StatusCode::OK, "text/plain; charset=utf-8", b"OK".to_vec())
        .with("cache-control", "no-cache, no-store, must-revalidate")
        .with("pragma", "no-cache")
        .with("swarm", "inactive"))
}

/// `GET /version`.
fn version(engine: &Engine, _: &mut Call) -> Result<Reply> {
    let info = engine.info()?;
    let version = env!("CARGO_PKG_VERSION");
    let details = json!({
        "ApiVersion": NEWEST.to_string(),
        "Arch": info.architecture,
        "Experimental": "false",
        "KernelVersion": info.kernel,
        "MinAPIVersion": OLDEST.to_string(),
        "Os": "linux",
    });
    Ok(Reply::json(&json!({
        "Platform": { "Name": "barge" },
        "Components": [{ "Name": "Engine", "Version": version, "Details": details }],
        "Version": version,
        "ApiVersion": NEWEST.to_string(),
        "MinAPIVersion": OLDEST.to_string(),
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": info.architecture,
        "KernelVersion": info.kernel,
        "BuildTime": "",
    })))
}
