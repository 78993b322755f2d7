//! What went wrong between a registry and us, in words for the user.

use std::error::Error as StdError;

use reqwest::header::RETRY_AFTER;
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
pub(super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut innermost: &dyn StdError = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    if is_about_names(error) {
        return in_plain_words(&text).to_owned();
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

/// Tells whether a host's name could not be turned into its address.
fn is_about_names(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.to_string() == "dns error" {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// Translates what the resolver says, which is for those who debug it.
fn in_plain_words(text: &str) -> &'static str {
    if text.contains("no records found") || text.contains("record not found") {
        "there is no host of this name"
    } else if text.contains("timed out") || text.contains("timeout") {
        "the name server does not answer"
    } else if text.contains("no connections")
        || text.contains("refused")
        || text.contains("unreachable")
    {
        "no name server can be reached"
    } else {
        "its name cannot be looked up"
    }
}

/// Returns what to do about a registry that has had enough.
fn patience(response: &Response, logged_in: bool) -> String {
    let wait =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(|value| {
            match value.parse::<u64>() {
                Ok(seconds) => format!("try again in {seconds} seconds"),
                // A date, in the words that all use.
                Err(_) => format!("try again after {}", clean(value)),
            }
        });
    let wait = wait.unwrap_or_else(|| "try again later".to_owned());
    if logged_in {
        format!("{wait}, or use a mirror: see containers-registries.conf(5)")
    } else {
        format!("{wait}, or log in with `barge login`: users may pull more than strangers")
    }
}

/// The error for a request that was refused.
pub(super) async fn refused(host: &str, mut response: Response, logged_in: bool) -> Error {
    let status = response.status();
    let patience = patience(&response, logged_in);
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
        "the name may be wrong; for a private repository log in with `barge login`, or pass --creds"
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
            Some(patience.as_str()),
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
    let text = clean(&text);
    (!text.is_empty()).then_some(text)
}

/// Leaves out what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_TEXT).collect()
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
