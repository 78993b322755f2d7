//! The one error type that crosses module borders.
//!
//! An [`Error`] is a [`Kind`] (what the caller can do about it), a message (what was being done, to
//! what), a hint (the way out, where there is one) and a source (why). `cmd` turns the kind into an
//! exit status, `api` into an HTTP status; nobody matches on text.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A result with barge's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The named object does not exist.
    NotFound,
    /// The object's present state, or another holder of the name, forbids it.
    Conflict,
    /// The request makes no sense as it was written.
    Invalid,
    /// The caller may not do this.
    Denied,
    /// Credentials are missing or were refused.
    Unauthorized,
    /// A remote side or a resource cannot be had now; trying again may help.
    Unavailable,
    /// This machine or this version cannot do it.
    Unsupported,
    /// The container's command was not found in the container.
    CommandNotFound,
    /// The container's command is there and cannot be executed.
    CommandNotExecutable,
    /// Anything else that failed.
    Internal,
}

/// What went wrong, in a form for people and for callers.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<Source>,
}

impl Error {
    /// Makes an error from its kind and a message: lower case, no full stop, values in backticks.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None, source: None }))
    }

    /// Adds the way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Wraps this error: `message` says what was being done; kind and hint stay.
    #[must_use]
    pub fn within(mut self, message: impl Into<String>) -> Self {
        let hint = self.0.hint.take();
        let kind = self.0.kind;
        let outer = Self::new(kind, message).caused_by(self);
        match hint {
            Some(hint) => outer.hint(hint),
            None => outer,
        }
    }

    /// Replaces the kind.
    #[must_use]
    pub fn kind_is(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Returns what the caller can do about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Tells whether this happened because a disk is full.
    pub fn is_full_disk(&self) -> bool {
        let mut cause = self.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return error.kind() == std::io::ErrorKind::StorageFull;
            }
            cause = error.source();
        }
        false
    }

    /// Returns the way out, where one is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    /// Writes the message and all its causes on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            match error.downcast_ref::<Self>() {
                // Our own causes write their own causes.
                Some(error) => return write!(f, ": {error}"),
                None => write!(f, ": {}", plain(&error.to_string()))?,
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// Tells whether this is ` (os error N)`, and nothing more.
fn is_number(text: &str) -> bool {
    let number = text.strip_prefix(" (os error ").and_then(|text| text.strip_suffix(')'));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Strips what the standard library appends to the text of an operating system error.
fn plain(text: &str) -> String {
    match text.rfind(" (os error ") {
        Some(end) if is_number(&text[end..]) => {
            let text = &text[..end];
            let mut letters = text.chars();
            match letters.next() {
                // "No such file or directory" in the middle of a sentence.
                Some(first) if letters.next().is_some_and(char::is_lowercase) => {
                    format!("{}{}", first.to_lowercase(), &text[first.len_utf8()..])
                }
                _ => text.to_owned(),
            }
        }
        _ => text.to_owned(),
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        match &self.0.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Says what was being done when a lower floor failed.
pub trait Context<T> {
    /// Turns a failure into an [`Error`] whose message is `message()` and whose source is the failure.
    ///
    /// The kind follows the cause: an [`Error`] keeps its own, an I/O error is classified by its kind.
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T> Context<T> for Result<T, std::io::Error> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| {
            let outer = Error::new(kind_of(&error), message());
            let outer = match hint_of(&error) {
                Some(hint) => outer.hint(hint),
                None => outer,
            };
            outer.caused_by(error)
        })
    }
}

impl<T> Context<T> for Result<T, rustix::io::Errno> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(std::io::Error::from).context(message)
    }
}

impl<T> Context<T> for Result<T, nix::errno::Errno> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(std::io::Error::from).context(message)
    }
}

impl<T> Context<T> for Result<T, serde_json::Error> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| Error::new(Kind::Invalid, message()).caused_by(error))
    }
}

impl<T> Context<T> for Result<T> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Self {
        self.map_err(|error| error.within(message()))
    }
}

fn kind_of(error: &std::io::Error) -> Kind {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => Kind::NotFound,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Kind::Denied,
        ErrorKind::AlreadyExists | ErrorKind::AddrInUse => Kind::Conflict,
        ErrorKind::InvalidInput | ErrorKind::InvalidData => Kind::Invalid,
        ErrorKind::Unsupported => Kind::Unsupported,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::WouldBlock => {
            Kind::Unavailable
        }
        _ => Kind::Internal,
    }
}

fn hint_of(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull => Some("free some space, or put the store elsewhere with --root"),
        ErrorKind::QuotaExceeded => Some("your disk quota is used up; free some space"),
        ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is read-only; put the store elsewhere with --root")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_whole_chain_on_one_line() {
        let error = std::fs::read("/nonexistent/file")
            .context(|| "cannot read /nonexistent/file")
            .context(|| "cannot start container `web`")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot start container `web`: cannot read /nonexistent/file: no such file or directory"
        );
        assert_eq!(error.kind(), Kind::NotFound);
    }

    #[test]
    fn keeps_the_hint_of_the_cause() {
        let error =
            Error::new(Kind::Conflict, "port is taken").hint("use another").within("no start");
        assert_eq!(error.hint_text(), Some("use another"));
        assert_eq!(error.kind(), Kind::Conflict);
    }
}
