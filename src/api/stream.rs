//! Bodies of answers, and answers that come from a thread of the service.

use std::convert::Infallible;
use std::io::{self, Cursor, Write};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response};
use tokio::sync::oneshot;

use super::pipe::{PipeWriter, pipe};
use super::reply::{Head, Reply};
use super::request::{Answer, Asked, Call};
use super::route::Handler;
use super::serve::Service;
use super::version::NEWEST;
use crate::error::{Context, Error, Kind, Result};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes of the largest body that is taken where it is read as a whole.
const LARGEST: usize = 4 << 20;

/// Bytes of a body that is refused which are read all the same.
const MOST_PASSED_OVER: usize = 64 << 20;

/// Makes the answer from its head and its body.
pub(super) fn response(head: Head, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(head.status)
        .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let fields = response.headers_mut();
    for (name, value) in &head.fields {
        add(fields, name, value);
    }
    if let Some(length) = head.length
        // No body follows these, and none may be announced.
        && !matches!(head.status, 204 | 304)
    {
        add(fields, "content-length", &length.to_string());
    }
    common(fields);
    response
}

/// Adds what all answers have.
pub(super) fn common(fields: &mut HeaderMap) {
    add(fields, "api-version", &NEWEST.to_string());
    add(fields, "docker-experimental", "false");
    add(fields, "ostype", "linux");
    add(fields, "server", &format!("barge/{} (linux)", env!("CARGO_PKG_VERSION")));
}

fn add(fields: &mut HeaderMap, name: &str, value: &str) {
    let name = hyper::header::HeaderName::from_bytes(name.as_bytes());
    // Ours are all good; of what comes from elsewhere, one with a line end in it is left out.
    if let (Ok(name), Ok(value)) = (name, hyper::header::HeaderValue::from_str(value)) {
        fields.insert(name, value);
    }
}

/// Makes the answer from a whole reply.
pub(super) fn whole(reply: Reply) -> Response<Body> {
    response(reply.head, full(reply.body))
}

/// A body that is there.
pub(super) fn full(body: Vec<u8>) -> Body {
    Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// Reads a body to its end; one that is too large is refused.
pub(super) async fn read_whole(request: Request<Incoming>) -> Result<Vec<u8>> {
    let context = || "cannot read the body of the request";
    let (mut body, mut all, mut length) = (request.into_body(), Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other).context(context)?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= LARGEST {
            all.extend_from_slice(&data);
        } else if length > MOST_PASSED_OVER {
            break;
        }
        // Who is cut off as it writes may not see the answer: some more is passed over.
    }
    if length > LARGEST {
        return Err(Error::new(Kind::Invalid, "the body of the request is too large"));
    }
    Ok(all)
}

/// Has a thread of the service answer a request.
pub(super) async fn look(
    service: Arc<Service>,
    handler: Handler,
    asked: Asked,
    names: Vec<String>,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let body = read_whole(request).await?;
    let (teller, head) = oneshot::channel();
    let (writer, parts) = pipe();
    let answer = FromThread { head: Some(teller), writer };
    let mut call = Call::new(asked, names, Box::new(Cursor::new(body)), Box::new(answer))?;
    let thread = tokio::spawn(blocking(move || {
        let result = handler(&service.engine, &mut call);
        // Dropping it ends the answer, if one has begun.
        drop(call);
        result
    }));
    if let Ok(head) = head.await {
        return Ok(response(head, parts.boxed_unsync()));
    }
    thread.await.map_err(broken_off)?.map(whole)
}

/// The end of an answer at which a thread writes.
struct FromThread {
    head: Option<oneshot::Sender<Head>>,
    writer: PipeWriter,
}

impl Answer for FromThread {
    fn begin(&mut self, head: Head) -> io::Result<()> {
        let sent = self.head.take().map(|teller| teller.send(head));
        if matches!(sent, Some(Err(_))) { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn is_wanted(&self) -> bool {
        self.writer.is_wanted()
    }
}

impl Write for FromThread {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writer.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Reads what a request asks for, but for its body.
pub(super) fn asked(request: &Request<Incoming>, target: &str, version: &str) -> Asked {
    let fields = request.headers().iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    Asked {
        method: request.method().as_str().to_owned(),
        target: target.to_owned(),
        version: version.to_owned(),
        fields: fields.collect(),
    }
}

/// Does something that may wait, on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(broken_off)?
}

/// Says which failure it was if a thread or a task has broken off.
pub(super) fn broken_off(error: tokio::task::JoinError) -> Error {
    Error::new(Kind::Internal, "the request could not be answered").caused_by(error)
}
