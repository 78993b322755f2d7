//! What a host answers.

use std::io::{self, BufRead, BufReader, Read};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{HeaderMap, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::host::{Host, Link};
use super::request::Sending;
use crate::error::{Context, Error, Kind, Result};

/// The longest document that is taken.
const LONGEST: u64 = 256 << 20;

/// The answer to one request. What follows its head is read as it comes.
#[derive(Debug)]
pub struct Answer<'a> {
    host: &'a Host,
    status: StatusCode,
    fields: HeaderMap,
    body: Incoming,
    arrived: Bytes,
    /// Whether all of it has come.
    is_whole: bool,
    /// The connection, until all of the answer is here.
    link: Option<Link>,
    /// Who still sends what was asked.
    sending: Option<Sending>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(
        host: &'a Host,
        link: Link,
        response: Response<Incoming>,
        sending: Option<Sending>,
    ) -> Self {
        let (head, body) = response.into_parts();
        let (status, fields) = (head.status, head.headers);
        let (arrived, link) = (Bytes::new(), Some(link));
        Self { host, status, fields, body, arrived, is_whole: false, link, sending }
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns a header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.to_str().ok()
    }

    /// Reads all of it.
    pub fn bytes(mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        self.read_all(&mut all)?;
        Ok(all)
    }

    fn read_all(&mut self, all: &mut Vec<u8>) -> Result<()> {
        let context = || format!("cannot read the answer of {}", self.host.target().address);
        let host = context();
        self.by_ref().take(LONGEST).read_to_end(all).context(|| host)?;
        self.finish();
        Ok(())
    }

    /// Reads a document.
    pub fn document(self) -> Result<Value> {
        let name = self.host.target().address.to_string();
        let data = self.bytes()?;
        serde_json::from_slice(&data)
            .context(|| format!("the answer of {name} is not what was asked for"))
    }

    /// Reads documents as they come, one after the other. One that tells of an error is one.
    pub fn documents(self) -> impl Iterator<Item = Result<Value>> {
        let name = self.host.target().address.to_string();
        let mut all = serde_json::Deserializer::from_reader(BufReader::new(self)).into_iter();
        std::iter::from_fn(move || {
            let next = all.next()?;
            let context = || format!("cannot follow the answer of {name}");
            Some(next.map_err(|error| Error::new(Kind::Unavailable, context()).caused_by(error)))
        })
    }

    /// Lets go of who still sends what was asked. The answer counts: one who has heard enough of it may answer
    /// before all was sent, and what could not be sent was never answered well.
    fn finish(&mut self) {
        let Some(sending) = self.sending.take() else { return };
        if !sending.is_finished() {
            // Without the connection it has nobody to wait for.
            drop(self.link.take());
        }
        drop(sending.join());
    }
}

impl Read for Answer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Answer<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.arrived.is_empty() {
            let Some(link) = &self.link else { break };
            match link.runtime.block_on(self.body.frame()) {
                Some(Ok(frame)) => self.arrived = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => {
                    self.is_whole = true;
                    break;
                }
            }
        }
        // All is here: somebody else may use the connection.
        if self.arrived.is_empty()
            && self.is_whole
            && self.sending.is_none()
            && let Some(link) = self.link.take()
            && link.is_open()
        {
            self.host.keep(link);
        }
        Ok(&self.arrived)
    }

    fn consume(&mut self, length: usize) {
        self.arrived.advance(length);
    }
}

/// What a service says of an error.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Makes an error of an answer that is none.
pub(super) fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let kind = match status {
        StatusCode::BAD_REQUEST => Kind::Invalid,
        StatusCode::UNAUTHORIZED => Kind::Unauthorized,
        StatusCode::FORBIDDEN => Kind::Denied,
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::CONFLICT => Kind::Conflict,
        StatusCode::NOT_IMPLEMENTED => Kind::Unsupported,
        StatusCode::SERVICE_UNAVAILABLE => Kind::Unavailable,
        _ => Kind::Internal,
    };
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    match text.trim() {
        "" => Error::new(kind, format!("the host answers {status}")),
        text => Error::new(kind, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_refusals() {
        let error = refusal(StatusCode::NOT_FOUND, br#"{"message":"No such container: x"}"#);
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::NotFound, "No such container: x".into())
        );
        let error = refusal(StatusCode::BAD_GATEWAY, b"");
        assert_eq!(error.to_string(), "the host answers 502 Bad Gateway");
    }
}
