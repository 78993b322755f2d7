//! Ways to compress a layer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, one member or several.
    Gzip,
    /// zstd, one frame or several.
    Zstd,
    /// bzip2, which is only read.
    Bzip2,
    /// xz, which is only read.
    Xz,
}

impl Compression {
    /// Returns the level that is used if none is asked for.
    pub fn default_level(self) -> i32 {
        match self {
            Self::None | Self::Bzip2 | Self::Xz => 0,
            Self::Gzip => 6,
            Self::Zstd => 3,
        }
    }

    /// Checks a level.
    pub fn check_level(self, level: i32) -> Result<i32, Error> {
        let (least, most) = match self {
            Self::None | Self::Bzip2 | Self::Xz => (0, 0),
            Self::Gzip => (1, 9),
            Self::Zstd => (1, 20),
        };
        if (least..=most).contains(&level) {
            return Ok(level);
        }
        Err(Error::new(Kind::Invalid, format!("invalid compression level {level}"))
            .hint(format!("{self} has levels from {least} to {most}")))
    }
}

impl FromStr for Compression {
    type Err = Error;

    /// Parses what a user asks for.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "gzip" => Ok(Self::Gzip),
            // A layer for partial pulls is an ordinary one to those that do not know them.
            "zstd" | "zstd:chunked" => Ok(Self::Zstd),
            _ => Err(Error::new(
                Kind::Unsupported,
                format!("unsupported compression format `{text}`"),
            )
            .hint("write gzip, zstd or zstd:chunked")),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no compression",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        })
    }
}
