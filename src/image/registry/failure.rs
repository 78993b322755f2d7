//! What went wrong between a registry and us, in words for the user.

use std::error::Error as StdError;

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::error::{Error, Kind};

/// The longest text of a registry that is passed on.
const MAX_TEXT: usize = 300;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errors: Vec<Item>,
    /// What some token servers say instead.
    details: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Tells whether a failure may pass: connections that were cut, not certificates that are bad.
pub(super) fn may_pass(error: &reqwest::Error) -> bool {
    if error.is_timeout() || error.is_body() || error.is_decode() {
        return true;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{
                BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof,
            };
            return matches!(
                inner.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof
            );
        }
        if inner.is::<rustls::Error>() {
            return false;
        }
        cause = inner.source();
    }
    // HTTP's own failures: a connection that was closed in between.
    error.is_request() && !error.is_connect()
}

/// The error for a host that cannot be asked.
pub(super) fn unreachable(host: &str, error: &reqwest::Error) -> Error {
    let cause = cause(error);
    let hint = if error.is_timeout() {
        "it does not answer; check the network, and whether a proxy is needed"
    } else if cause.contains("certificate") || cause.contains("UnknownIssuer") {
        "install ca-certificates, put the registry's authority into /etc/containers/certs.d, or pass --tls-verify=false"
    } else if cause.contains("InvalidContentType") || cause.contains("corrupt message") {
        "it does not speak TLS; if it is yours, pass --tls-verify=false"
    } else {
        "check the registry's name and the network; images can also come from files by `barge load`"
    };
    Error::new(Kind::Unavailable, format!("cannot reach registry `{host}`: {cause}")).hint(hint)
}

/// The error for an answer that broke off.
pub(super) fn broken(host: &str, error: &reqwest::Error) -> Error {
    Error::new(Kind::Unavailable, format!("registry `{host}` broke off: {}", cause(error)))
        .hint("try again")
}

/// Returns the innermost cause, which alone says something.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut innermost: &dyn StdError = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    // What the resolver says is for those who debug it.
    if text.starts_with("no records found") {
        return "there is no host of this name".to_owned();
    }
    let text = text.split(" (os error ").next().unwrap_or(&text);
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            format!("{}{}", first.to_lowercase(), &text[first.len_utf8()..])
        }
        _ => text.to_owned(),
    }
}

/// The error for a request that was refused.
pub(super) async fn refused(host: &str, mut response: Response, logged_in: bool) -> Error {
    let status = response.status();
    let mut data = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        data.extend_from_slice(&chunk);
        if data.len() > 64 << 10 {
            break;
        }
    }
    let said = said(&data);
    let log_in = if logged_in {
        "check that your user may read it; log in again if the password has changed"
    } else {
        "the name may be wrong; for a private repository log in with `podman login` or `docker login`, or pass --creds"
    };
    let (kind, message, hint) = match status {
        StatusCode::NOT_FOUND => (
            Kind::NotFound,
            format!("registry `{host}` does not have it"),
            Some("check name and tag"),
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            (Kind::Unauthorized, format!("registry `{host}` denies access"), Some(log_in))
        }
        StatusCode::TOO_MANY_REQUESTS => (
            Kind::Unavailable,
            format!("registry `{host}` wants fewer requests"),
            Some("wait, or log in: registries allow users more than strangers"),
        ),
        _ if status.is_server_error() => (
            Kind::Unavailable,
            format!("registry `{host}` failed with status {status}"),
            Some("try again later"),
        ),
        _ => (Kind::Internal, format!("registry `{host}` answered with status {status}"), None),
    };
    let message = match said {
        Some(said) => format!("{message}: {said}"),
        None => message,
    };
    match hint {
        Some(hint) => Error::new(kind, message).hint(hint),
        None => Error::new(kind, message),
    }
}

/// Returns what a registry says about it, made fit for a terminal.
fn said(data: &[u8]) -> Option<String> {
    let answer: Answer = serde_json::from_slice(data).ok()?;
    let text = match answer.errors.into_iter().next() {
        Some(item) if item.message.is_empty() => item.code,
        Some(item) => item.message,
        None => answer.details?,
    };
    let text: String = text.chars().filter(|letter| !letter.is_control()).take(MAX_TEXT).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_on_what_a_registry_says() {
        for (data, want) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
                Some("manifest unknown"),
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, Some("DENIED")),
            (
                r#"{"details":"incorrect username or password"}"#,
                Some("incorrect username or password"),
            ),
            ("{\"errors\":[{\"message\":\"a\\u001b[2Jb\"}]}", Some("a[2Jb")),
            (r#"{"errors":[]}"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(said(data.as_bytes()).as_deref(), want, "{data}");
        }
    }
}
