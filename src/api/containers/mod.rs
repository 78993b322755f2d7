//! Endpoints of containers.

mod asked;
mod attach;
mod create;
mod life;
mod list;
mod look;
mod spec;
mod stats;

pub(super) use self::attach::detach_keys;
pub(super) use self::life::{in_runc_words, size};
pub(super) use self::look::content_type;

use super::route::{How, Route, route};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::store::container::Container;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/containers/json", How::Look(list::list)),
    route("POST", "/containers/create", How::Change(create::create)),
    route("POST", "/containers/prune", How::Change(life::prune)),
    route("GET", "/containers/{id}/json", How::Look(look::inspect)),
    route("GET", "/containers/{id}/top", How::Change(look::top)),
    route("GET", "/containers/{id}/logs", How::Work(look::logs)),
    route("GET", "/containers/{id}/changes", How::Change(look::changes)),
    route("GET", "/containers/{id}/export", How::Work(look::export)),
    route("GET", "/containers/{id}/stats", How::Work(stats::stats)),
    route("POST", "/containers/{id}/resize", How::Look(life::resize)),
    route("POST", "/containers/{id}/start", How::Change(life::start)),
    route("POST", "/containers/{id}/stop", How::Change(life::stop)),
    route("POST", "/containers/{id}/restart", How::Change(life::restart)),
    route("POST", "/containers/{id}/kill", How::Change(life::kill)),
    route("POST", "/containers/{id}/update", How::Change(life::update)),
    route("POST", "/containers/{id}/rename", How::Change(life::rename)),
    route("POST", "/containers/{id}/pause", How::Change(life::pause)),
    route("POST", "/containers/{id}/unpause", How::Change(life::unpause)),
    route("POST", "/containers/{id}/attach", How::Talk(attach::attach)),
    route("GET", "/containers/{id}/attach/ws", How::Talk(attach::attach)),
    route("INIT", "/containers/{id}/init", How::Inner(attach::init)),
    route("POST", "/containers/{id}/wait", How::Work(life::wait)),
    route("DELETE", "/containers/{id}", How::Change(life::remove)),
];

/// Decodes what a container is to be.
#[cfg(any(fuzzing, test))]
pub(super) fn read(body: &[u8]) {
    for rootless in [false, true] {
        let asked = serde_json::from_slice(body);
        drop(asked.map(|asked| spec::container(asked, rootless)));
    }
}

/// Finds a container as clients name it: with a slash before its name, perhaps.
pub(super) fn find(engine: &Engine, name: &str) -> Result<Container> {
    engine
        .lookup(name.strip_prefix('/').unwrap_or(name))
        .map_err(|error| in_docker_words(error, name))
}

/// Says in Docker's words that there is no such container: clients look for them.
pub(super) fn in_docker_words(error: Error, name: &str) -> Error {
    match error.kind() {
        Kind::NotFound => Error::new(Kind::NotFound, format!("No such container: {name}")),
        _ => error,
    }
}
