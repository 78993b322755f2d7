//! The table of all endpoints, and how a request finds its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::documented::DOCUMENTED;
use super::reply::Reply;
use super::request::{Asked, Call};
use super::serve::Service;
use super::stream::Body;
use super::{
    archive, build, buildkit, commit, containers, exec, images, networks, plugins, secrets, system,
    usage, volumes,
};
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};

/// Decodes a request, makes one engine call, encodes the answer.
pub(super) type Handler = fn(&Engine, &mut Call) -> Result<Reply>;

/// A future that may be anything.
pub(super) type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A conversation with a client.
pub(super) type Talk = fn(Talking) -> Later<Result<Response<Body>>>;

/// What a conversation begins with.
pub(super) struct Talking {
    /// The service.
    pub(super) service: Arc<Service>,
    /// The request, without its body.
    pub(super) asked: Asked,
    /// What stands for the variable parts of the path, in order.
    pub(super) names: Vec<String>,
    /// The request.
    pub(super) request: Request<Incoming>,
}

/// Where and how a request is answered.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// It needs nothing: at once, by who has read it.
    Here(fn() -> Reply),
    /// It only looks: on a thread of the service.
    Look(Handler),
    /// It changes something: in a process of its own, which goes on if the client vanishes.
    Change(Handler),
    /// It takes long: in a process of its own, which is ended if the client vanishes.
    Work(Handler),
    /// It talks with the client for longer.
    Talk(Talk),
    /// It is a part of what the service does itself, in a process of its own: no client may ask for it.
    Inner(Handler),
    /// It is about swarms, of which this is none.
    Swarm,
}

/// One endpoint.
pub(super) struct Route {
    pub(super) method: &'static str,
    /// The path: `{id}` stands for one part, `{name...}` for one or more.
    pub(super) path: &'static str,
    pub(super) how: How,
}

pub(super) const fn route(method: &'static str, path: &'static str, how: How) -> Route {
    Route { method, path, how }
}

/// All endpoints, by their groups.
pub(super) const ROUTES: &[&[Route]] = &[
    system::ROUTES,
    containers::ROUTES,
    exec::ROUTES,
    archive::ROUTES,
    images::ROUTES,
    build::ROUTES,
    buildkit::ROUTES,
    commit::ROUTES,
    networks::ROUTES,
    volumes::ROUTES,
    secrets::ROUTES,
    plugins::ROUTES,
    usage::ROUTES,
    SWARM,
];

const SWARM: &[Route] = &[
    route("GET", "/nodes", How::Swarm),
    route("GET", "/nodes/{id}", How::Swarm),
    route("DELETE", "/nodes/{id}", How::Swarm),
    route("POST", "/nodes/{id}/update", How::Swarm),
    route("GET", "/swarm", How::Swarm),
    route("POST", "/swarm/init", How::Swarm),
    route("POST", "/swarm/join", How::Swarm),
    route("POST", "/swarm/leave", How::Swarm),
    route("POST", "/swarm/update", How::Swarm),
    route("GET", "/swarm/unlockkey", How::Swarm),
    route("POST", "/swarm/unlock", How::Swarm),
    route("GET", "/services", How::Swarm),
    route("POST", "/services/create", How::Swarm),
    route("GET", "/services/{id}", How::Swarm),
    route("DELETE", "/services/{id}", How::Swarm),
    route("POST", "/services/{id}/update", How::Swarm),
    route("GET", "/services/{id}/logs", How::Swarm),
    route("GET", "/tasks", How::Swarm),
    route("GET", "/tasks/{id}", How::Swarm),
    route("GET", "/tasks/{id}/logs", How::Swarm),
];

/// Finds the endpoint of a request; returns it with what stands for the variable parts of its path.
pub(super) fn find(method: &str, path: &str) -> Result<(&'static Route, Vec<String>)> {
    let mut other_method = false;
    for route in ROUTES.iter().copied().flatten() {
        if let Some(names) = matched(route.path, path) {
            if route.method == method {
                return Ok((route, names));
            }
            other_method = true;
        }
    }
    if DOCUMENTED
        .iter()
        .any(|(known, pattern)| *known == method && matched(pattern, path).is_some())
    {
        let text = format!("{method} {path} is not supported by barge");
        return Err(Error::new(Kind::Unsupported, text));
    }
    Err(match other_method {
        true => Error::new(Kind::Invalid, format!("method {method} is not allowed for {path}")),
        false => Error::new(Kind::NotFound, "page not found"),
    })
}

/// Matches a path, of which nothing is decoded yet.
fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .ok()
            .map(std::borrow::Cow::into_owned)
    };
    let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
    let path: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let mut names = Vec::new();
    let mut at = 0;
    for (index, part) in pattern.iter().enumerate() {
        let behind = pattern.len() - index - 1;
        let count = if part.ends_with("...}") { path.len().checked_sub(at + behind)? } else { 1 };
        let parts = path.get(at..at + count).filter(|parts| !parts.is_empty())?;
        at += count;
        if part.starts_with('{') {
            let name = decoded(&parts.join("/")).filter(|name| !name.is_empty())?;
            names.push(name);
        } else if *part != parts[0] {
            return None;
        }
    }
    (at == path.len()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_paths() {
        for (pattern, path, want) in [
            ("/info", "/info", Some(vec![])),
            ("/info", "/info/", None),
            ("/containers/{id}/json", "/containers/a/json", Some(vec!["a"])),
            ("/containers/{id}/json", "/containers//json", None),
            ("/containers/{id}/json", "/containers/a/b/json", None),
            ("/containers/{id}", "/containers/a%2Fb", Some(vec!["a/b"])),
            ("/images/{name...}/json", "/images/a/json", Some(vec!["a"])),
            ("/images/{name...}/json", "/images/r:5000/a/b:c/json", Some(vec!["r:5000/a/b:c"])),
            ("/images/{name...}/json", "/images/json", None),
            ("/images/{name...}", "/images/a/b", Some(vec!["a/b"])),
            ("/a/{b}/c/{d}", "/a/1/c/2", Some(vec!["1", "2"])),
        ] {
            let want = want.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(matched(pattern, path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn each_endpoint_is_there_once() {
        let mut all: Vec<(&str, &str)> =
            ROUTES.iter().copied().flatten().map(|it| (it.method, it.path)).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
