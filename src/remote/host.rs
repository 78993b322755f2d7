//! A host, and the connection to it that is used again.

use std::sync::{Mutex, OnceLock, PoisonError};

use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, USER_AGENT};
use hyper::{Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::answer::{Answer, refusal};
use super::choice::Target;
use super::connect;
use super::request::{Payload, Request, Sending};
use super::ssh::Tunnel;
use crate::error::{Context, Error, Kind, Result};

/// The newest version of the API that we know.
const NEWEST: (u32, u32) = (1, 51);

/// What a service speaks that does not say what: all of them did when they began to say it.
const UNTOLD: (u32, u32) = (1, 24);

/// Another host, or another service of this one.
#[derive(Debug)]
pub struct Host {
    target: Target,
    /// A connection that nobody uses.
    idle: Mutex<Option<Link>>,
    version: OnceLock<(u32, u32)>,
}

/// A connection. Its parts end in this order: the runtime drops the stream, and then nothing goes through
/// the tunnel.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<Payload>,
    pub(super) runtime: Runtime,
    tunnel: Option<Tunnel>,
}

impl Host {
    /// Makes one of where it is. Nothing is connected before something is asked.
    pub fn new(target: Target) -> Self {
        Self { target, idle: Mutex::new(None), version: OnceLock::new() }
    }

    /// Returns where it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Asks for something, and fails unless it was answered well.
    pub fn call(&self, request: Request) -> Result<Answer<'_>> {
        let answer = self.ask(request)?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        Err(refusal(status, &answer.bytes()?))
    }

    /// Asks for a document.
    pub fn document(&self, request: Request) -> Result<Value> {
        self.call(request)?.document()
    }

    /// Has something done, of which there is nothing to tell.
    pub fn act(&self, request: Request) -> Result<()> {
        self.call(request)?.bytes().map(drop)
    }

    /// Asks for something; whatever the answer is.
    pub fn ask(&self, request: Request) -> Result<Answer<'_>> {
        let mut link = self.link()?;
        let path = format!("{}{}", self.prefix(&mut link)?, request.target());
        let (response, sending) = self.send(&mut link, request, &path)?;
        Ok(Answer::new(self, link, response, sending))
    }

    /// As [`Host::ask`]; the connection stays with the answer.
    pub(super) fn ask_alone(
        &self,
        request: Request,
    ) -> Result<(Response<hyper::body::Incoming>, Link)> {
        let mut link = self.link()?;
        let path = format!("{}{}", self.prefix(&mut link)?, request.target());
        let (response, _) = self.send(&mut link, request, &path)?;
        Ok((response, link))
    }

    /// Returns the version of the API that both sides know, as in `1.41`.
    pub fn version(&self) -> Result<(u32, u32)> {
        match self.version.get() {
            Some(version) => Ok(*version),
            None => {
                let mut link = self.link()?;
                self.prefix(&mut link)?;
                self.keep(link);
                Ok(self.version.get().copied().unwrap_or(UNTOLD))
            }
        }
    }

    /// Takes a connection back that may be used again.
    pub(super) fn keep(&self, link: Link) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
    }

    fn send(
        &self,
        link: &mut Link,
        request: Request,
        path: &str,
    ) -> Result<(Response<hyper::body::Incoming>, Option<Sending>)> {
        let mut head = hyper::Request::builder()
            .method(request.method.clone())
            .uri(path)
            .version(Version::HTTP_11)
            // No name is looked at; Docker's client says this one.
            .header(HOST, "barge")
            .header(USER_AGENT, concat!("barge/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &request.fields {
            head = head.header(*name, value);
        }
        let (body, sending) = request.body();
        let asked = head.body(body).map_err(|error| {
            Error::new(Kind::Invalid, format!("cannot ask for {path}")).caused_by(error)
        })?;
        match link.runtime.block_on(link.sender.send_request(asked)) {
            Ok(response) => Ok((response, sending)),
            Err(error) => Err(self.silence(link, sending, error)),
        }
    }

    /// Says why there is no answer.
    fn silence(&self, link: &mut Link, sending: Option<Sending>, error: hyper::Error) -> Error {
        // What could not be sent is the reason, if there is one.
        if error.is_user()
            && let Some(Ok(Err(cause))) = sending.map(std::thread::JoinHandle::join)
        {
            return cause;
        }
        let message = format!("no answer from {}", self.target.address);
        let failed = link.tunnel.as_mut().and_then(Tunnel::failure);
        match failed {
            Some(text) => Error::new(Kind::Unavailable, format!("{message}: {text}")).hint(
                "see that `ssh` reaches the host without asking anything, and that barge is installed there",
            ),
            None => Error::new(Kind::Unavailable, message).caused_by(error),
        }
    }

    /// Returns a connection: the one that nobody uses, or a new one.
    fn link(&self) -> Result<Link> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut link) = idle
            && link.runtime.block_on(link.sender.ready()).is_ok()
        {
            return Ok(link);
        }
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context(|| "cannot set up the network")?;
        let (sender, tunnel) = runtime.block_on(async {
            let (stream, tunnel) = connect::connect(&self.target).await?;
            let (sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|error| {
                    let message = format!("cannot connect to {}", self.target.address);
                    Error::new(Kind::Unavailable, message).caused_by(error)
                })?;
            // How it ends is told to who waits for an answer.
            tokio::spawn(async move { drop(connection.with_upgrades().await) });
            Ok::<_, Error>((sender, tunnel))
        })?;
        Ok(Link { sender, runtime, tunnel })
    }

    /// Returns what paths begin with: the version that both sides know.
    fn prefix(&self, link: &mut Link) -> Result<String> {
        let (major, minor) = match self.version.get() {
            Some(version) => *version,
            None => {
                let (response, _) = self.send(link, Request::get("/_ping"), "/_ping")?;
                let told = response.headers().get("api-version");
                let theirs = told.and_then(|it| numbers(it.to_str().ok()?)).unwrap_or(UNTOLD);
                let status = response.status();
                let body = link.runtime.block_on(http_body_util::BodyExt::collect(response));
                let text = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                if !status.is_success() {
                    return Err(refusal(status, &text)).context(|| {
                        format!("{} is no service of Docker's API", self.target.address)
                    });
                }
                let common = theirs.min(NEWEST);
                // Another thread may have found out the same.
                *self.version.get_or_init(|| common)
            }
        };
        Ok(format!("/v{major}.{minor}"))
    }
}

/// Reads a version, as in `1.41`.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Link {
    /// Tells whether another request can follow.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Takes the connection apart: the runtime, and what the stream goes through.
    pub(super) fn into_parts(self) -> (Runtime, Option<Tunnel>) {
        (self.runtime, self.tunnel)
    }
}
