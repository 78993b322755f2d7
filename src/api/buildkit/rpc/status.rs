//! How a call ends.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderValue};
use prost::Message;

use crate::api::buildkit::message::{Any, RpcStatus};
use crate::error::{Error, Kind};

/// Longer texts are cut: they travel in headers, for which clients have limits.
const LONGEST: usize = 4 << 10;

/// What kind of end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Code {
    Ok = 0,
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Code {
    /// Returns the kind that has a number.
    pub(crate) fn of(number: i32) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Canceled,
            3 => Self::InvalidArgument,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            9 => Self::FailedPrecondition,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            16 => Self::Unauthenticated,
            _ => Self::Unknown,
        }
    }
}

/// The end of a call that did not go well.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Status {
    /// What kind of end.
    pub(crate) code: Code,
    /// What has happened.
    pub(crate) message: String,
    /// What machines can make of it.
    pub(crate) details: Vec<Any>,
}

impl Status {
    /// Makes one without details.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// Says that the other end is gone, or does not keep to the protocol.
    pub(crate) fn broken(error: impl fmt::Display) -> Self {
        Self::new(Code::Unavailable, format!("the connection has failed: {error}"))
    }

    /// Writes an end, or a good one, into trailers.
    pub(super) fn write(end: Result<(), &Self>, headers: &mut HeaderMap) {
        let code = end.as_ref().err().map_or(Code::Ok, |status| status.code);
        headers.insert("grpc-status", HeaderValue::from(code as i32));
        let Err(status) = end else { return };
        let mut text = status.message.clone();
        if let Some((at, _)) = text.char_indices().find(|(at, _)| *at >= LONGEST) {
            text.truncate(at);
            text.push('…');
        }
        if let Ok(value) = HeaderValue::from_str(&escape(&text)) {
            headers.insert("grpc-message", value);
        }
        if !status.details.is_empty() {
            let all = RpcStatus {
                code: status.code as i32,
                message: text,
                details: status.details.clone(),
            };
            let data = STANDARD_NO_PAD.encode(all.encode_to_vec());
            if let Ok(value) = HeaderValue::from_str(&data) {
                headers.insert("grpc-status-details-bin", value);
            }
        }
    }

    /// Reads an end from trailers, or from headers that are all there is.
    pub(super) fn read(headers: &HeaderMap) -> Result<(), Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(code) = text("grpc-status").and_then(|text| text.parse().ok()) else {
            return Err(Self::new(Code::Internal, "the answer has no status"));
        };
        match Code::of(code) {
            Code::Ok => Ok(()),
            code => Err(Self::new(code, unescape(text("grpc-message").unwrap_or_default()))),
        }
    }
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Self {
        let code = match error.kind() {
            Kind::NotFound | Kind::CommandNotFound => Code::NotFound,
            Kind::Invalid | Kind::CommandNotExecutable => Code::InvalidArgument,
            Kind::Conflict => Code::AlreadyExists,
            Kind::Denied => Code::PermissionDenied,
            Kind::Unauthorized => Code::Unauthenticated,
            Kind::Unavailable => Code::Unavailable,
            Kind::Unsupported => Code::Unimplemented,
            Kind::Internal => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let kind = match status.code {
            Code::NotFound => Kind::NotFound,
            Code::InvalidArgument => Kind::Invalid,
            Code::AlreadyExists | Code::FailedPrecondition => Kind::Conflict,
            Code::PermissionDenied => Kind::Denied,
            Code::Unauthenticated => Kind::Unauthorized,
            Code::Canceled | Code::Unavailable => Kind::Unavailable,
            Code::Unimplemented => Kind::Unsupported,
            Code::Ok | Code::Unknown | Code::Internal => Kind::Internal,
        };
        Self::new(kind, status.message)
    }
}

/// Writes text as headers may have it: what is not plain ASCII as `%XX`.
fn escape(text: &str) -> String {
    let mut written = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => written.push(char::from(byte)),
            _ => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written
}

fn unescape(text: &str) -> String {
    let mut read = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let number = match after {
            [high, low, ..] if *first == b'%' => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        read.push(number.unwrap_or(*first));
        rest = &rest[if number.is_some() { 3 } else { 1 }..];
    }
    String::from_utf8_lossy(&read).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_headers_may_not_have() {
        for (text, want) in
            [("plain text: ok", "plain text: ok"), ("100%\nü", "100%25%0A%C3%BC"), ("", "")]
        {
            assert_eq!(escape(text), want);
            assert_eq!(unescape(want), text);
        }
        assert_eq!(unescape("%zz%4"), "%zz%4", "what is no escape stays");
    }

    #[test]
    fn writes_and_reads_ends() {
        let mut good = HeaderMap::new();
        Status::write(Ok(()), &mut good);
        assert_eq!(good.get("grpc-status").unwrap(), "0");
        assert_eq!(Status::read(&good), Ok(()));
        let mut bad = HeaderMap::new();
        let status = Status::new(Code::NotFound, "no secret\n`a`");
        Status::write(Err(&status), &mut bad);
        assert_eq!(Status::read(&bad), Err(status));
        assert!(Status::read(&HeaderMap::new()).is_err(), "one that is missing is no good one");
    }

    #[test]
    fn cuts_long_texts_between_characters() {
        let mut headers = HeaderMap::new();
        Status::write(Err(&Status::new(Code::Unknown, "ü".repeat(LONGEST))), &mut headers);
        let read = Status::read(&headers).unwrap_err();
        assert!(read.message.ends_with("ü…") && read.message.len() <= LONGEST + 4);
    }
}
