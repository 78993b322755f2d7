//! Platforms that images are made for, as in `linux/arm64/v8`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// Operating system, processor and its variant, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Processor.
    pub architecture: String,
    /// Variant of the processor.
    pub variant: Option<String>,
}

impl Platform {
    /// Returns the platform of this machine.
    pub fn host() -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: architecture(std::env::consts::ARCH).to_owned(),
            variant: None,
        }
    }

    /// Tells how well an image for a platform runs where this one is wanted: less is better, `None`
    /// is not at all.
    pub fn distance(&self, os: &str, architecture: &str, variant: Option<&str>) -> Option<u32> {
        if self.os != os || self.architecture != self::architecture(architecture) {
            return None;
        }
        let number = |variant: &str| variant.trim_start_matches('v').parse::<u32>().ok();
        match (self.variant.as_deref(), variant) {
            (None, None) => Some(0),
            // Any variant will do, an image for the oldest processors most surely.
            (None, Some(variant)) => Some(number(variant).unwrap_or(99)),
            (Some(want), Some(variant)) if want == variant => Some(0),
            // `arm64` is `arm64/v8`.
            (Some("v8"), None) if self.architecture == "arm64" => Some(0),
            (Some(want), Some(variant)) => {
                // A newer processor runs what was made for an older one.
                number(want)?.checked_sub(number(variant)?)
            }
            (Some(_), None) => Some(99),
        }
    }
}

/// Returns Go's word for a processor, whoever named it.
fn architecture(name: &str) -> &str {
    match name {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i386" | "i686" => "386",
        "armhf" | "armel" => "arm",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        let words: Vec<&str> = text.split('/').collect();
        let (os, name, variant) = match words.as_slice() {
            // One word is a processor, unless it is the system.
            ["linux"] => ("linux", std::env::consts::ARCH, None),
            [name] => ("linux", *name, None),
            [os, name] => (*os, *name, None),
            [os, name, variant] => (*os, *name, Some(*variant)),
            _ => ("", "", None),
        };
        if !is_word(os) || !is_word(name) || !variant.is_none_or(is_word) {
            return Err(Error::new(Kind::Invalid, format!("invalid platform `{text}`"))
                .hint("write OS/ARCHITECTURE[/VARIANT], as in linux/arm64"));
        }
        Ok(Self {
            os: os.to_ascii_lowercase(),
            architecture: architecture(&name.to_ascii_lowercase()).to_owned(),
            variant: variant.map(str::to_ascii_lowercase),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_platforms() {
        for (text, want) in [
            ("linux/amd64", Some("linux/amd64")),
            ("linux/x86_64", Some("linux/amd64")),
            ("aarch64", Some("linux/arm64")),
            ("Linux/arm/v7", Some("linux/arm/v7")),
            ("", None),
            ("linux/", None),
            ("a/b/c/d", None),
            ("linux/../x", None),
        ] {
            assert_eq!(
                text.parse::<Platform>().ok().map(|platform| platform.to_string()).as_deref(),
                want,
                "{text}"
            );
        }
    }

    #[test]
    fn compares_variants() {
        for (want, offer, distance) in [
            ("linux/amd64", ("linux", "amd64", None), Some(0)),
            ("linux/amd64", ("linux", "amd64", Some("v3")), Some(3)),
            ("linux/amd64", ("linux", "arm64", None), None),
            ("linux/amd64", ("windows", "amd64", None), None),
            ("linux/arm64/v8", ("linux", "arm64", None), Some(0)),
            ("linux/arm/v7", ("linux", "arm", Some("v6")), Some(1)),
            ("linux/arm/v6", ("linux", "arm", Some("v7")), None),
            ("linux/amd64", ("unknown", "unknown", None), None),
        ] {
            let platform: Platform = want.parse().unwrap();
            assert_eq!(platform.distance(offer.0, offer.1, offer.2), distance, "{want} {offer:?}");
        }
    }
}
