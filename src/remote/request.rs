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

use crate::api::pipe::{PipeBody, pipe};
use crate::error::{Context, Result};

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
                let (mut to, parts) = pipe();
                let sending = thread::spawn(move || {
                    let written = writer(&mut to)
                        .and_then(|()| to.flush().context(|| "cannot send to the host"));
                    if written.is_err() {
                        to.break_off();
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

/// The body of a request.
pub(super) enum Payload {
    Whole(Option<Bytes>),
    Parts(PipeBody),
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
            Self::Parts(parts) => Pin::new(parts).poll_frame(poller),
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
}
