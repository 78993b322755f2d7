//! Content digests, and the distinct things that are named by one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

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
    /// The identity of a layer on top of others: what all of them make together.
    ChainId
}

impl ChainId {
    /// Returns the chain of a layer, and of all below it.
    ///
    /// The lowest layer's is its own digest, every other one's the digest of the chain below and
    /// the layer, as the OCI image specification has it.
    pub fn of(below: Option<&Self>, layer: &DiffId) -> Self {
        match below {
            None => Self(layer.0.clone()),
            Some(below) => {
                let hash = Sha256::digest(format!("{below} {layer}"));
                Self(Digest::from_sha256(&hash.into()))
            }
        }
    }

    /// Returns the chains of layers, lowest first: one for each layer with those below it.
    pub fn all(layers: &[DiffId]) -> Vec<Self> {
        let mut chains: Vec<Self> = Vec::with_capacity(layers.len());
        for layer in layers {
            let chain = Self::of(chains.last(), layer);
            chains.push(chain);
        }
        chains
    }
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
    fn chains_layers() {
        let layer = |digit: &str| DiffId(Digest::from_hex(&digit.repeat(64)).unwrap());
        let chains = ChainId::all(&[layer("a"), layer("b")]);
        assert_eq!(chains[0].0, layer("a").0);
        // printf 'sha256:aa… sha256:bb…' | sha256sum
        let want = "ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c";
        assert_eq!(chains[1].hex(), want);
        assert!(ChainId::all(&[]).is_empty());
    }

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
