//! A request, as a handler sees it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use hyper::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::query::Query;
use super::reply::Head;
use super::version::Version;
use crate::error::{Context, Error, Kind, Result};

/// Bytes of the largest JSON document that is taken.
const LARGEST: u64 = 4 << 20;

/// A request without its body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The method, as in `POST`.
    pub(super) method: String,
    /// The path without the version, and what is behind the question mark.
    pub(super) target: String,
    /// The version, as in `1.45`.
    pub(super) version: String,
    /// Header fields; their names are in small letters.
    pub(super) fields: BTreeMap<String, String>,
}

/// A request, and the way to answer it bit by bit.
pub(super) struct Call {
    /// The version that the client speaks.
    pub(super) version: Version,
    /// What stands for the variable parts of the path, in order.
    pub(super) names: Vec<String>,
    /// What is behind the question mark.
    pub(super) query: Query,
    fields: BTreeMap<String, String>,
    body: Box<dyn Read + Send>,
    answer: Box<dyn Answer + Send>,
    /// Whether the answer has begun.
    has_begun: bool,
}

/// Where an answer goes that is written bit by bit.
pub(super) trait Answer: Write {
    /// Sends what comes before the body.
    fn begin(&mut self, head: Head) -> io::Result<()>;

    /// Tells whether the client is still there.
    fn is_wanted(&self) -> bool;
}

impl Call {
    pub(super) fn new(
        asked: Asked,
        names: Vec<String>,
        body: Box<dyn Read + Send>,
        answer: Box<dyn Answer + Send>,
    ) -> Result<Self> {
        let query = asked.target.split_once('?').map_or("", |(_, query)| query);
        Ok(Self {
            version: asked.version.parse()?,
            names,
            query: Query::new(query),
            fields: asked.fields,
            body,
            answer,
            has_begun: false,
        })
    }

    /// Returns what stands for the first variable part of the path.
    pub(super) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Returns a header field; its name is given in small letters.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Returns the body, to be read as it comes.
    pub(super) fn body(&mut self) -> &mut (dyn Read + Send) {
        &mut *self.body
    }

    /// Takes the body, for who reads it as the answer goes on.
    pub(super) fn take_body(&mut self) -> Box<dyn Read + Send> {
        std::mem::replace(&mut self.body, Box::new(io::empty()))
    }

    /// Reads a body of JSON. None at all is what `T` is if nothing is said.
    pub(super) fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        let mut text = Vec::new();
        let context = || "cannot read the body of the request";
        (&mut self.body).take(LARGEST + 1).read_to_end(&mut text).context(context)?;
        if text.len() as u64 > LARGEST {
            return Err(Error::new(Kind::Invalid, "the body of the request is too large"));
        }
        // The second is what clients in Go have for nothing.
        if matches!(text.trim_ascii(), b"" | b"null") {
            return Ok(T::default());
        }
        // An empty list would do for fields of which none is needed.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(Error::new(Kind::Invalid, "the body of the request is no JSON object"));
        }
        serde_json::from_slice(&text).context(|| "invalid JSON in the body of the request")
    }

    /// Begins an answer that is written bit by bit; the client sees at once that it has begun.
    ///
    /// A handler that fails later tells so in what it writes.
    pub(super) fn stream(&mut self, head: Head) -> Result<&mut (dyn Answer + Send)> {
        self.begin(head)?;
        Ok(&mut *self.answer)
    }

    /// As [`Call::stream`], for 200 and JSON documents, one a line.
    pub(super) fn lines(&mut self) -> Result<&mut (dyn Answer + Send)> {
        self.stream(Head::new(StatusCode::OK, super::reply::JSON))
    }

    /// Returns where an answer goes that has begun.
    pub(super) fn answer(&mut self) -> &mut (dyn Answer + Send) {
        &mut *self.answer
    }

    /// Writes a JSON document and the end of its line to an answer that has begun.
    pub(super) fn line(&mut self, document: &impl Serialize) -> Result<()> {
        write_line(&mut *self.answer, document)
    }

    fn begin(&mut self, head: Head) -> Result<()> {
        self.has_begun = true;
        self.answer.begin(head).context(|| "the client has gone")
    }

    /// Tells whether an answer has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }
}

/// Writes a JSON document and the end of its line, and sends both.
pub(super) fn write_line(out: &mut (dyn Answer + Send), document: &impl Serialize) -> Result<()> {
    let context = || "cannot write to the client";
    let mut line = serde_json::to_vec(document).context(context)?;
    // As Docker does.
    line.extend_from_slice(b"\r\n");
    out.write_all(&line).and_then(|()| out.flush()).context(context)
}
