//! Content digests, and the distinct things that are named by one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::is_hex;
use crate::error::{Error, Kind};

/// A SHA-256 content digest, written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

const ALGORITHM: &str = "sha256:";

impl Digest {
    /// Makes a digest from the 32 bytes of a finished SHA-256 computation.
    pub fn from_sha256(bytes: &[u8; 32]) -> Self {
        Self(format!("{ALGORITHM}{}", super::id::to_hex(bytes)))
    }

    /// Makes a digest from its 64 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, Error> {
        format!("{ALGORITHM}{hex}").parse()
    }

    /// Returns the 64 digits without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0[ALGORITHM.len()..]
    }

    /// Returns the digest with its algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.strip_prefix(ALGORITHM) {
            Some(hex) if hex.len() == 64 && is_hex(hex) => Ok(Self(text.to_owned())),
            Some(_) => Err(Error::new(Kind::Invalid, format!("invalid digest `{text}`"))
                .hint("a sha256 digest has 64 hexadecimal digits in lower case")),
            None => Err(Error::new(Kind::Invalid, format!("unsupported digest `{text}`"))
                .hint("only sha256 digests are supported")),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! digest_of {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl $name {
            /// Returns the 64 digits without the algorithm.
            pub fn hex(&self) -> &str {
                self.0.hex()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                text.parse().map(Self)
            }
        }
    };
}

digest_of! {
    /// The digest of a layer's uncompressed tar stream.
    DiffId
}

digest_of! {
    /// The identity of an image: the digest of its configuration.
    ImageId
}

impl ImageId {
    /// Returns the 12 digits that tables show.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_digests() {
        let hex = "0123456789abcdef".repeat(4);
        for (text, good) in [
            (format!("sha256:{hex}"), true),
            (format!("sha256:{}", &hex[1..]), false),
            (format!("sha256:{}", hex.to_uppercase()), false),
            (format!("sha512:{hex}"), false),
            (hex, false),
            (String::new(), false),
            ("sha256:".to_owned(), false),
        ] {
            assert_eq!(text.parse::<Digest>().is_ok(), good, "{text}");
        }
    }
}
