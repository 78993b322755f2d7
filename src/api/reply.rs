//! What a handler answers.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::status;
use crate::error::Error;

/// The content type of JSON documents.
pub(super) const JSON: &str = "application/json";

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
}

/// What comes before the body of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// The status.
    pub(super) status: u16,
    /// Header fields, beside those that all answers have.
    pub(super) fields: Vec<(String, String)>,
    /// Bytes of the body; `None` for one that is written bit by bit.
    pub(super) length: Option<u64>,
}

impl Head {
    pub(super) fn new(status: StatusCode, content_type: &str) -> Self {
        let fields = match content_type {
            "" => Vec::new(),
            kind => vec![("content-type".to_owned(), kind.to_owned())],
        };
        Self { status: status.as_u16(), fields, length: None }
    }

    /// Adds a header field.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }
}

impl Reply {
    /// A body of some type.
    pub(super) fn new(status: StatusCode, content_type: &str, body: Vec<u8>) -> Self {
        let mut head = Head::new(status, content_type);
        head.length = u64::try_from(body.len()).ok();
        Self { head, body }
    }

    /// 200 and a document.
    pub(super) fn json(document: &impl Serialize) -> Self {
        Self::document(StatusCode::OK, document)
    }

    /// 201 and a document.
    pub(super) fn created(document: &impl Serialize) -> Self {
        Self::document(StatusCode::CREATED, document)
    }

    fn document(status: StatusCode, document: &impl Serialize) -> Self {
        // Our documents have no maps with odd keys, and nothing else can fail.
        let mut body = serde_json::to_vec(document).unwrap_or_default();
        body.push(b'\n');
        Self::new(status, JSON, body)
    }

    /// 204: done, and nothing to say.
    pub(super) fn done() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    /// 304: it was so already.
    pub(super) fn unchanged() -> Self {
        Self::empty(StatusCode::NOT_MODIFIED)
    }

    /// A status and no body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::new(status, "", Vec::new())
    }

    /// Says that the answer has been written by [`Call::stream`](super::request::Call::stream).
    pub(super) fn streamed() -> Self {
        Self::empty(StatusCode::OK)
    }

    /// Adds a header field.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.head = self.head.with(name, value);
        self
    }

    /// An error, as Docker writes it.
    pub(super) fn error(error: &Error) -> Self {
        Self::document(status::of(error), &message(error))
    }
}

/// The document of an error.
pub(super) fn message(error: &Error) -> Value {
    json!({ "message": text(error) })
}

/// The text of an error, with the way out.
pub(super) fn text(error: &Error) -> String {
    match error.hint_text() {
        Some(hint) => format!("{error} (hint: {hint})"),
        None => error.to_string(),
    }
}
