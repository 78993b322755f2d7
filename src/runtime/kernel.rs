//! The version of a kernel.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use crate::error::{Error, Kind};

/// A kernel version as far as it says what the kernel can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// As the 6 in 6.18.
    pub major: u32,
    /// As the 18 in 6.18.
    pub minor: u32,
}

impl KernelVersion {
    /// Returns the version of the running kernel; 0.0 if it does not tell it as Linux does.
    pub fn running() -> Self {
        let name = rustix::system::uname();
        let release = name.release().to_str().unwrap_or_default();
        release.parse().unwrap_or(Self { major: 0, minor: 0 })
    }
}

impl FromStr for KernelVersion {
    type Err = Error;

    /// Reads the beginning of a release, as in `6.18.2-arch1` or `4.8`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let leading = |part: &str| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse().ok()
        };
        text.split_once('.')
            .and_then(|(major, rest)| {
                Some(Self { major: major.parse().ok()?, minor: leading(rest)? })
            })
            .ok_or_else(|| Error::new(Kind::Invalid, format!("invalid kernel version `{text}`")))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl<'de> Deserialize<'de> for KernelVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_releases() {
        for (text, want) in [
            ("6.18.2", Some((6, 18))),
            ("4.8", Some((4, 8))),
            ("5.14.0-503.el9.x86_64", Some((5, 14))),
            ("6.1-rc3", Some((6, 1))),
            ("6", None),
            ("6.", None),
            ("x.1", None),
            ("", None),
        ] {
            let got = text.parse::<KernelVersion>().ok().map(|v| (v.major, v.minor));
            assert_eq!(got, want, "{text}");
        }
        assert!(KernelVersion { major: 5, minor: 4 } < KernelVersion { major: 5, minor: 11 });
        assert!(KernelVersion::running() > KernelVersion { major: 4, minor: 0 });
    }
}
