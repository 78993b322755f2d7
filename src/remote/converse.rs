//! Conversations: a connection that becomes a stream, to a container or to a command in one.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread;

use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use hyper_util::rt::TokioIo;
use rustix::net::SocketType;
use tokio::io::copy_bidirectional;
use tokio::runtime::{Builder, Runtime};

use super::answer::refusal;
use super::connect::{Duplex, connect, in_turn};
use super::host::Host;
use super::request::Request;
use super::ssh::Tunnel;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::socket;

/// The type of a stream whose parts say which stream of the container they are of.
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// A connection that has become a stream.
#[derive(Debug)]
pub struct Talk {
    /// The stream.
    pub socket: UnixStream,
    /// Whether it comes in parts that say which stream of the container they are of; `None` if the service is
    /// too old to tell.
    pub multiplexed: Option<bool>,
}

impl Host {
    /// Has the connection become a stream.
    ///
    /// Signals that are to be caught must have been blocked before: this makes a thread.
    pub fn talk(&self, request: Request) -> Result<Talk> {
        let request = request.field("connection", "Upgrade").field("upgrade", "tcp");
        let (response, link) = self.ask_alone(request)?;
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let multiplexed = kind.and_then(|kind| match kind {
            MULTIPLEXED => Some(true),
            // What older ones say in either case.
            _ if self.version().is_ok_and(|version| version < (1, 42)) => None,
            _ => Some(false),
        });
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let body = link.runtime.block_on(http_body_util::BodyExt::collect(response));
            let text = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(match status.is_success() {
                true => Error::new(Kind::Unsupported, "the host does not give the connection over"),
                false => refusal(status, &text),
            });
        }
        let context = || format!("cannot talk with {}", self.target().address);
        let upgraded = link
            .runtime
            .block_on(hyper::upgrade::on(response))
            .map_err(|error| Error::new(Kind::Unavailable, context()).caused_by(error))?;
        let (runtime, tunnel) = link.into_parts();
        let socket = bridge(runtime, TokioIo::new(upgraded), tunnel).context(context)?;
        Ok(Talk { socket, multiplexed })
    }

    /// Connects to the service, and asks nothing.
    pub fn dial(&self) -> Result<UnixStream> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context(|| "cannot set up the network")?;
        let (stream, tunnel) = runtime.block_on(connect(self.target()))?;
        bridge(runtime, stream, tunnel).context(|| "cannot pass on what is said")
    }
}

/// Makes a socket of a stream: a thread copies both ways until both sides have said all.
fn bridge(
    runtime: Runtime,
    stream: impl Duplex + 'static,
    tunnel: Option<Tunnel>,
) -> io::Result<UnixStream> {
    let (ours, theirs) = socket::pair(SocketType::STREAM)?;
    thread::Builder::new().name("talk".to_owned()).spawn(move || {
        let mut stream = stream;
        let copied: io::Result<_> = runtime.block_on(async {
            let mut inside = in_turn(UnixStream::from(theirs))?;
            copy_bidirectional(&mut stream, &mut inside).await
        });
        // Whoever is left sees the end of the stream, which is all there is to tell.
        drop(copied);
        drop(stream);
        drop(runtime);
        drop(tunnel);
    })?;
    Ok(UnixStream::from(ours))
}
