//! BuildKit's API, for clients whose builds go through it.
//!
//! `docker build` and `docker compose build` talk to BuildKit inside the service. They open two connections
//! and turn both into HTTP/2: on one, from `POST /grpc`, they call us ([`control`], [`gateway`]); on the
//! other, from `POST /session`, we call them ([`session`]), for files, secrets and agents, and
//! to hand results over.
//!
//! A build is asked for in the words of the frontend `dockerfile.v0`, and carried out by our own builder in
//! a process of its own ([`worker`]). BuildKit's own operations (LLB) are not understood: nothing but a
//! Dockerfile can be built.
//!
//! | file | job |
//! |---|---|
//! | `rpc` | gRPC |
//! | `message` | messages |
//! | `session` | what a client has for its builds |
//! | `files` | trees of files, either way |
//! | `gather` | what a build needs of the client's files |
//! | `blobs`, `caches` | caches that the client keeps |
//! | `builds` | builds that go on |
//! | `progress` | what is told of them |
//! | `solve` | one build, from the client's files to its result |
//! | `control`, `gateway` | what clients call |
//! | `worker` | the process that builds |

mod blobs;
mod builds;
mod caches;
mod control;
mod files;
mod gateway;
mod gather;
mod message;
mod progress;
mod rpc;
mod session;
mod solve;
pub(crate) mod worker;

use std::sync::Arc;

use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;

use self::builds::Builds;
use self::session::Sessions;
use super::route::{How, Later, Route, Talking, route};
use super::serve::Busy;
use super::stream::{Body, full};
use crate::error::{Error, Kind, Result};

pub(super) const ROUTES: &[Route] =
    &[route("POST", "/session", How::Talk(session)), route("POST", "/grpc", How::Talk(grpc))];

/// Decodes what is asked of the builder.
#[cfg(any(fuzzing, test))]
pub(super) fn read(body: &[u8]) {
    use prost::Message;
    if let Ok(request) = message::control::SolveRequest::decode(body) {
        worker::read(&request.attributes.into_iter().collect());
    }
    drop(message::control::PruneRequest::decode(body).map(|it| control::asked(&it)));
    drop(message::files::Packet::decode(body));
}

/// The protocol that connections are turned into.
const PROTOCOL: &str = "h2c";

/// What clients are connected, and what is built for them.
#[derive(Debug, Default)]
pub(super) struct Hub {
    sessions: Sessions,
    builds: Builds,
}

/// `POST /session`: a client lets itself be called.
fn session(talking: Talking) -> Later<Result<Response<Body>>> {
    Box::pin(async move {
        let service = Arc::clone(&talking.service);
        let headers = talking.request.headers().clone();
        upgrade(talking, async move |io| service.buildkit.sessions.serve(io, &headers).await)
    })
}

/// `POST /grpc`: a client calls us.
fn grpc(talking: Talking) -> Later<Result<Response<Body>>> {
    Box::pin(async move {
        let handler = Arc::new(control::Control { service: Arc::clone(&talking.service) });
        upgrade(talking, async move |io| rpc::serve(io, handler).await)
    })
}

/// What is left of a connection when HTTP has left it.
type Io = TokioIo<hyper::upgrade::Upgraded>;

/// Turns a connection into another protocol, and has somebody talk that.
fn upgrade<T, F>(talking: Talking, talk: T) -> Result<Response<Body>>
where
    T: FnOnce(Io) -> F + Send + 'static,
    F: Future<Output = Result<(), rpc::Status>> + Send,
{
    let wanted = talking.asked.fields.get("upgrade").map(String::as_str);
    if wanted != Some(PROTOCOL) {
        let text = format!("the connection must be turned into {PROTOCOL}");
        return Err(Error::new(Kind::Invalid, text).hint("send `Upgrade: h2c`"));
    }
    let busy = Busy::new(&talking.service);
    tokio::spawn(async move {
        let _busy = busy;
        // One that is not turned over after all was left by its client; how it leaves later is its own
        // business, too.
        if let Ok(upgraded) = hyper::upgrade::on(talking.request).await {
            drop(talk(TokioIo::new(upgraded)).await);
        }
    });
    let mut response = Response::new(full(Vec::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

#[cfg(test)]
mod tests;
