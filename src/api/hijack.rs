//! Conversations: a client's connection becomes a stream of bytes both ways.
//!
//! With `Upgrade: tcp` it is that from the head of the answer on. A client that does not ask for it gets
//! the output as a body that comes part by part, and what it has to say is the body of its request.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, mpsc};

use super::listen::Stream;
use super::pipe::channel;
use super::reply::Head;
use super::stream::{Body, full, response};
use super::websocket;
use crate::error::{Context, Error, Kind, Result};

/// Bytes that are read at once.
const PART: usize = 32 << 10;

/// How many parts wait at most for a client without `Upgrade` that is slow.
const WAITING: usize = 8;

/// A conversation that is about to begin.
pub(super) struct Opening(Way);

enum Way {
    Upgrade(OnUpgrade),
    WebSocket(OnUpgrade),
    Bodies(Option<Incoming>, mpsc::Sender<io::Result<Bytes>>),
}

/// Answers a request that begins a conversation; `kind` is the type of what the client will hear. Without
/// `Upgrade`, the body of the request is what the client says if `body_is_input`.
pub(super) fn open(
    mut request: Request<Incoming>,
    kind: &str,
    body_is_input: bool,
) -> (Response<Body>, Opening) {
    let protocol = request.headers().get("upgrade").and_then(|it| it.to_str().ok());
    if let Some(protocol) = protocol.map(str::to_owned) {
        let head = Head::new(StatusCode::SWITCHING_PROTOCOLS, kind)
            .with("connection", "Upgrade")
            .with("upgrade", protocol);
        let upgrade = hyper::upgrade::on(&mut request);
        return (response(head, full(Vec::new())), Opening(Way::Upgrade(upgrade)));
    }
    let (sender, parts) = channel(WAITING);
    let body = body_is_input.then(|| request.into_body());
    let head = Head::new(StatusCode::OK, kind);
    (response(head, parts.boxed_unsync()), Opening(Way::Bodies(body, sender)))
}

/// Answers a request that begins a conversation in messages of a WebSocket.
pub(super) fn open_websocket(mut request: Request<Incoming>) -> Result<(Response<Body>, Opening)> {
    let field = |name: &str| request.headers().get(name).and_then(|it| it.to_str().ok());
    let is_one = field("upgrade").is_some_and(|it| it.eq_ignore_ascii_case("websocket"));
    let key = field("sec-websocket-key").filter(|_| is_one).map(websocket::accept);
    let key = key.ok_or_else(|| Error::new(Kind::Invalid, "this is for WebSockets only"))?;
    let mut head = Head::new(StatusCode::SWITCHING_PROTOCOLS, "")
        .with("connection", "Upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-accept", key);
    // Of several protocols one may be chosen; they mean nothing here.
    if let Some(protocol) = field("sec-websocket-protocol").and_then(|all| all.split(',').next()) {
        head = head.with("sec-websocket-protocol", protocol.trim());
    }
    let upgrade = hyper::upgrade::on(&mut request);
    Ok((response(head, full(Vec::new())), Opening(Way::WebSocket(upgrade))))
}

/// Where a client reads; no message is broken by another one.
type Writer = Arc<Mutex<tokio::io::WriteHalf<Box<dyn Stream>>>>;

/// What a client says.
pub(super) enum Hearing {
    /// Whoever asks whether we are there is answered at once.
    WebSocket(tokio::io::ReadHalf<Box<dyn Stream>>, BytesMut, Writer),
    Stream(tokio::io::ReadHalf<Box<dyn Stream>>, Bytes),
    Body(Incoming),
    Nothing,
}

/// What a client is told.
pub(super) enum Telling {
    /// The descriptor is for looking whether the client is there; the truth value says whether it is told in
    /// messages of a WebSocket.
    Stream(Writer, std::os::fd::OwnedFd, bool),
    Body(mpsc::Sender<io::Result<Bytes>>),
}

impl Opening {
    /// Waits until the head of the answer has been sent.
    pub(super) async fn begin(self) -> Result<(Hearing, Telling)> {
        match self.0 {
            Way::Bodies(body, sender) => {
                let hearing = body.map_or(Hearing::Nothing, Hearing::Body);
                Ok((hearing, Telling::Body(sender)))
            }
            Way::Upgrade(upgrade) => {
                let (from, first, to, file) = halves(upgrade).await?;
                Ok((Hearing::Stream(from, first), Telling::Stream(to, file, false)))
            }
            Way::WebSocket(upgrade) => {
                let (from, first, to, file) = halves(upgrade).await?;
                let first = BytesMut::from(&first[..]);
                let hearing = Hearing::WebSocket(from, first, Arc::clone(&to));
                Ok((hearing, Telling::Stream(to, file, true)))
            }
        }
    }
}

/// Waits until a connection is ours, and splits it.
async fn halves(
    upgrade: OnUpgrade,
) -> Result<(tokio::io::ReadHalf<Box<dyn Stream>>, Bytes, Writer, std::os::fd::OwnedFd)> {
    let gone = |error| {
        Error::new(Kind::Unavailable, "the client has gone").caused_by(io::Error::other(error))
    };
    let (stream, first) = own(upgrade.await.map_err(gone)?)?;
    let file = stream.as_fd().try_clone_to_owned().context(|| "cannot watch the client")?;
    let (from, to) = tokio::io::split(stream);
    Ok((from, first, Arc::new(Mutex::new(to)), file))
}

/// Takes the connection back from the HTTP library, with what it has read of it beyond the request.
pub(super) fn own(upgraded: Upgraded) -> Result<(Box<dyn Stream>, Bytes)> {
    let parts = upgraded
        .downcast::<TokioIo<Box<dyn Stream>>>()
        .map_err(|_| Error::new(Kind::Internal, "this connection is none of ours"))?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

impl Hearing {
    /// Returns what the client says next; `None` if it says nothing more.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Nothing => None,
            Self::Body(body) => loop {
                // What is cut off is the end of it, too.
                if let Ok(data) = body.frame().await?.ok()?.into_data() {
                    return Some(data);
                }
            },
            Self::WebSocket(stream, buffer, to) => loop {
                match websocket::take(buffer) {
                    Ok(Some(websocket::Frame::Data(data))) => return Some(data),
                    Ok(Some(websocket::Frame::Ping(data))) => {
                        // Who has gone is noticed by the next read.
                        drop(to.lock().await.write_all(&websocket::pong(&data)).await);
                        continue;
                    }
                    Ok(Some(websocket::Frame::Other)) => continue,
                    Ok(Some(websocket::Frame::Close)) | Err(_) => return None,
                    Ok(None) => {}
                }
                match stream.read_buf(buffer).await {
                    Ok(length) if length > 0 => {}
                    Ok(_) | Err(_) => return None,
                }
            },
            Self::Stream(stream, first) => {
                if !first.is_empty() {
                    return Some(std::mem::take(first));
                }
                let mut buffer = BytesMut::with_capacity(PART);
                match stream.read_buf(&mut buffer).await {
                    Ok(length) if length > 0 => Some(buffer.freeze()),
                    Ok(_) | Err(_) => None,
                }
            }
        }
    }
}

impl Telling {
    /// Tells the client something; `false` if it has gone.
    pub(super) async fn tell(&mut self, data: Bytes) -> bool {
        match self {
            Self::Body(sender) => sender.send(Ok(data)).await.is_ok(),
            Self::Stream(stream, _, true) => {
                stream.lock().await.write_all(&websocket::frame(&data)).await.is_ok()
            }
            Self::Stream(stream, ..) => stream.lock().await.write_all(&data).await.is_ok(),
        }
    }

    /// Says that this is all.
    pub(super) async fn end(&mut self) {
        if let Self::Stream(stream, _, is_websocket) = self {
            let mut stream = stream.lock().await;
            // It may have gone.
            if *is_websocket {
                drop(stream.write_all(&websocket::close()).await);
            }
            drop(stream.shutdown().await);
        }
    }

    /// Tells whether the client has hung up, and not only ended what it says.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Body(sender) => sender.is_closed(),
            Self::Stream(_, file, _) => {
                let mut files = [PollFd::new(file, PollFlags::empty())];
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                let _interrupted = poll(&mut files, Some(&now));
                files[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
            }
        }
    }
}
