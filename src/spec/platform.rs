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
        let offer = variant.or(implied(&self.architecture));
        match (self.variant.as_deref().or(implied(&self.architecture)), offer) {
            (None, None) => Some(0),
            (Some(want), Some(offer)) if want == offer => Some(0),
            (Some(want), Some(offer)) => {
                // A newer processor runs what was made for an older one.
                let steps = number(want)
                    .zip(number(offer))
                    .and_then(|(want, offer)| want.checked_sub(offer));
                // Nobody asked for a variant: one that this processor may not know is better than none.
                let unsure =
                    || self.variant.is_none().then(|| NEWER + number(offer).unwrap_or(NEWER));
                steps.or_else(unsure)
            }
            (None, Some(offer)) => Some(NEWER + number(offer).unwrap_or(NEWER)),
            (Some(_), None) => Some(NEWER),
        }
    }
}

/// How far images are for which a processor may be too old.
const NEWER: u32 = 100;

/// Returns the variant of a processor that is meant when none is named.
fn implied(architecture: &str) -> Option<&'static str> {
    match architecture {
        "amd64" => Some("v1"),
        "arm" => Some("v7"),
        "arm64" => Some("v8"),
        _ => None,
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
            ("linux/amd64", ("linux", "amd64", Some("v1")), Some(0)),
            ("linux/amd64", ("linux", "amd64", Some("v3")), Some(103)),
            ("linux/amd64/v2", ("linux", "amd64", None), Some(1)),
            ("linux/amd64/v2", ("linux", "amd64", Some("v2")), Some(0)),
            ("linux/amd64/v2", ("linux", "amd64", Some("v3")), None),
            ("linux/amd64", ("linux", "amd64", Some("odd")), Some(200)),
            ("linux/amd64/v2", ("linux", "amd64", Some("odd")), None),
            ("linux/amd64", ("linux", "arm64", None), None),
            ("linux/amd64", ("windows", "amd64", None), None),
            ("linux/arm64/v8", ("linux", "arm64", None), Some(0)),
            ("linux/arm64", ("linux", "arm64", Some("v8")), Some(0)),
            ("linux/arm64", ("linux", "arm64", Some("v9")), Some(109)),
            ("linux/arm64/v8", ("linux", "arm64", Some("v9")), None),
            ("linux/arm/v7", ("linux", "arm", Some("v6")), Some(1)),
            ("linux/arm/v7", ("linux", "arm", Some("v5")), Some(2)),
            ("linux/arm/v6", ("linux", "arm", Some("v7")), None),
            ("linux/arm/v6", ("linux", "arm", None), None),
            ("linux/arm", ("linux", "arm", Some("v7")), Some(0)),
            ("linux/arm", ("linux", "arm", Some("v8")), Some(108)),
            ("linux/s390x", ("linux", "s390x", None), Some(0)),
            ("linux/ppc64le", ("linux", "ppc64le", Some("power9")), Some(200)),
            ("linux/ppc64le/power9", ("linux", "ppc64le", None), Some(100)),
            ("linux/amd64", ("unknown", "unknown", None), None),
        ] {
            let platform: Platform = want.parse().unwrap();
            assert_eq!(platform.distance(offer.0, offer.1, offer.2), distance, "{want} {offer:?}");
        }
    }
}
