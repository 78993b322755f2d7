//! Versions of Docker's API.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// A version of the API, as in `1.45`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the point.
    pub major: u16,
    /// Behind the point.
    pub minor: u16,
}

/// The oldest that is understood.
pub const OLDEST: Version = Version { major: 1, minor: 24 };

/// The newest that is understood, and what a client gets that names none.
pub const NEWEST: Version = Version { major: 1, minor: 56 };

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_once('.').and_then(|(major, minor)| {
            let number = |text: &str| {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|_| digits)
            };
            Some(Self { major: number(major)?, minor: number(minor)? })
        });
        numbers.ok_or_else(|| Error::new(Kind::Invalid, format!("invalid API version `{text}`")))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Refuses a version that is not understood, in Docker's words.
    pub(super) fn checked(self) -> Result<Self> {
        if self > NEWEST {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "client version {self} is too new. Maximum supported API version is {NEWEST}"
                ),
            ));
        }
        if self < OLDEST {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "client version {self} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
                ),
            ));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_and_knows_their_order() {
        for (text, want) in [
            ("1.24", Some((1, 24))),
            ("1.5", Some((1, 5))),
            ("1", None),
            ("1.+5", None),
            ("a.b", None),
        ] {
            let got = text.parse::<Version>().ok().map(|it| (it.major, it.minor));
            assert_eq!(got, want, "{text}");
        }
        for (text, good) in [
            ("1.23", false),
            ("1.24", true),
            ("1.45", true),
            ("1.56", true),
            ("1.57", false),
            ("2.0", false),
        ] {
            let got = text.parse::<Version>().and_then(Version::checked).is_ok();
            assert_eq!(got, good, "{text}");
        }
    }
}
