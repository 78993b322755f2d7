//! Exit statuses: what a failure of each kind becomes. Nowhere else is a kind turned into one.

use std::process::ExitCode;

use crate::error::{Error, Kind};

/// How barge ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(u8);

impl Status {
    /// All is well.
    pub(crate) const SUCCESS: Self = Self(0);
    /// The answer to a question is no, or an object to remove is not there.
    pub(crate) const NO: Self = Self(1);
    /// An object is in use and cannot be removed.
    pub(crate) const IN_USE: Self = Self(2);
    /// barge itself failed.
    pub(crate) const FAILED: Self = Self(125);
    /// The reader of our output went away: as a program ends that SIGPIPE kills.
    pub(crate) const PIPE: Self = Self(128 + 13);

    /// Passes on how a container's process ended.
    pub(crate) fn of_container(code: i32) -> Self {
        // As the kernel does, for a code that is out of range.
        Self((code & 0xff) as u8)
    }

    /// Returns the status for an error of a command that is not about removal.
    pub(crate) fn of_error(error: &Error) -> Self {
        match error.kind() {
            Kind::CommandNotFound => Self(127),
            Kind::CommandNotExecutable => Self(126),
            _ => Self::FAILED,
        }
    }

    /// Returns the status for an error of `rm` or `rmi`.
    pub(crate) fn of_removal(error: &Error) -> Self {
        match error.kind() {
            Kind::NotFound => Self::NO,
            Kind::Conflict => Self::IN_USE,
            _ => Self::FAILED,
        }
    }

    /// Returns the graver one of two.
    #[must_use]
    pub(crate) fn or_worse(self, other: Self) -> Self {
        if other.0 > self.0 { other } else { self }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.0)
    }
}
