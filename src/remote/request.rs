//! What a host is asked.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use hyper::Method;
use hyper::body::{Body, Frame, SizeHint};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::error::{Context, Result};

/// How many parts of a body wait at most.
const WAITING: usize = 4;

/// Bytes of a part of a body.
const PART: usize = 64 << 10;

/// What stands for itself in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// Writes a name as part of a path. The names of images have slashes, which stay.
pub fn escape(name: &str) -> String {
    utf8_percent_encode(name, PLAIN).to_string()
}

/// What writes a body.
type Writer = Box<dyn FnOnce(&mut dyn Write) -> Result<()> + Send>;

/// What a host is asked.
pub struct Request {
    pub(super) method: Method,
    path: String,
    query: Vec<(String, String)>,
    pub(super) fields: Vec<(&'static str, String)>,
    body: Content,
}

enum Content {
    Nothing,
    Whole(Vec<u8>),
    Written(Writer),
}

impl Request {
    fn new(method: Method, path: impl Into<String>) -> Self {
        let (query, fields) = (Vec::new(), Vec::new());
        Self { method, path: path.into(), query, fields, body: Content::Nothing }
    }

    /// Asks for something. Names in the path are [escaped](escape).
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// As [`Request::get`], for the head of the answer only.
    pub fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    /// Has something done.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// Brings something.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// Has something removed.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a parameter, if it has a value.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a parameter that is true, if it is.
    #[must_use]
    pub fn flag(self, name: &str, is_set: bool) -> Self {
        if is_set { self.with(name, 1) } else { self }
    }

    /// Adds a header field.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Sends a document.
    #[must_use]
    pub fn json(mut self, document: &Value) -> Self {
        self.body = Content::Whole(document.to_string().into_bytes());
        self.field("content-type", "application/json")
    }

    /// Sends what a function writes, as it writes it, on a thread of its own.
    #[must_use]
    pub fn written(
        mut self,
        kind: &str,
        writer: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
    ) -> Self {
        self.body = Content::Written(Box::new(writer));
        self.field("content-type", kind)
    }

    /// Returns the path, with the parameters.
    pub(super) fn target(&self) -> String {
        if self.query.is_empty() {
            return self.path.clone();
        }
        let mut all = form_urlencoded::Serializer::new(String::new());
        all.extend_pairs(&self.query);
        format!("{}?{}", self.path, all.finish())
    }

    /// Returns the body, and the thread that writes it.
    pub(super) fn body(self) -> (Payload, Option<Sending>) {
        match self.body {
            Content::Nothing => (Payload::Whole(None), None),
            Content::Whole(data) => (Payload::Whole(Some(data.into())), None),
            Content::Written(writer) => {
                let (sender, parts) = mpsc::channel(WAITING);
                let sending = thread::spawn(move || {
                    let mut pipe = Pipe { sender, collected: Vec::new() };
                    let written = writer(&mut pipe)
                        .and_then(|()| pipe.flush().context(|| "cannot send to the host"));
                    if written.is_err() {
                        // What comes is not whole, and must not look so.
                        drop(pipe.sender.blocking_send(Err(io::ErrorKind::BrokenPipe.into())));
                    }
                    written
                });
                (Payload::Parts(parts), Some(sending))
            }
        }
    }
}

/// A thread that writes a body, and how that went.
pub(super) type Sending = JoinHandle<Result<()>>;

/// Where a body is written to.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    collected: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.collected.extend_from_slice(data);
        if self.collected.len() >= PART {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.collected.is_empty() {
            return Ok(());
        }
        let part = Bytes::from(std::mem::take(&mut self.collected));
        self.sender.blocking_send(Ok(part)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The body of a request.
pub(super) enum Payload {
    Whole(Option<Bytes>),
    Parts(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(data) => Poll::Ready(data.take().map(|data| Ok(Frame::data(data)))),
            Self::Parts(parts) => {
                parts.poll_recv(poller).map(|part| part.map(|part| part.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(data) => {
                SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Self::Parts(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_paths_and_parameters() {
        assert_eq!(escape("quay.io:5000/a/b:1@sha256:0"), "quay.io:5000/a/b:1@sha256:0");
        assert_eq!(escape("a b?c#%"), "a%20b%3Fc%23%25");
        let request = Request::get("/x").with("a", "1 &").flag("b", false).maybe("c", Some(2));
        assert_eq!(request.target(), "/x?a=1+%26&c=2");
    }

    #[test]
    fn sends_what_is_written() {
        let request = Request::post("/x").written("text/plain", |out| {
            out.write_all(&vec![7; PART * 2]).context(|| "cannot write")
        });
        let (body, sending) = request.body();
        let Payload::Parts(mut parts) = body else { panic!("it comes in parts") };
        let mut length = 0;
        while let Some(part) = parts.blocking_recv() {
            length += part.unwrap().len();
        }
        assert_eq!(length, PART * 2);
        sending.unwrap().join().unwrap().unwrap();
    }
}
