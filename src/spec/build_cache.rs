//! `--cache-from` and `--cache-to` of a build, in BuildKit's words.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::csv::fields;
use crate::error::{Error, Kind, Result};

/// Where what steps have made is kept besides the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// In a registry, under a name.
    Registry(String),
    /// In a directory.
    Local(PathBuf),
    /// In the image that is built.
    Inline,
}

impl fmt::Display for CachePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => f.write_str(name),
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Inline => f.write_str("the image itself"),
        }
    }
}

/// One `--cache-from` or `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildCache {
    /// Where.
    pub place: CachePlace,
    /// Whether all steps are kept, not only those of the result.
    pub all: bool,
    /// Whether it is no failure when it cannot be kept.
    pub ignore_errors: bool,
    /// Whether the registry may be one without encryption or certificates.
    pub insecure: bool,
    /// Whether an image of that name will do that is in the store.
    pub here: bool,
}

impl BuildCache {
    /// Tells whether it can be read.
    pub fn check_source(self) -> Result<Self> {
        match self.place {
            CachePlace::Inline => Err(Error::new(
                Kind::Invalid,
                "a cache of type=inline is read by the name of its image",
            )
            .hint("write --cache-from type=registry,ref=IMAGE")),
            CachePlace::Registry(_) | CachePlace::Local(_) => Ok(self),
        }
    }
}

impl FromStr for BuildCache {
    type Err = Error;

    /// Parses the flag: fields as in `type=registry,ref=NAME,mode=max`, or the name of an image.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: String| {
            Error::new(Kind::Invalid, format!("invalid build cache `{text}`: {why}")).hint(
                "write NAME, type=registry,ref=NAME, type=local,src=DIR (or dest=DIR) or type=inline",
            )
        };
        if !text.contains('=') && !text.is_empty() {
            return Ok(Self::in_registry(text));
        }
        let words = fields(text).map_err(invalid)?;
        let (mut kind, mut pairs) = (None, Vec::new());
        for word in &words {
            let (key, value) =
                word.split_once('=').ok_or_else(|| invalid(format!("`{word}` is no KEY=VALUE")))?;
            match key.trim() {
                "type" => kind = Some(value),
                key => pairs.push((key, value)),
            }
        }
        let kind = kind.ok_or_else(|| invalid("type is required".to_owned()))?;
        Self::of(kind, pairs).map_err(|error| match error.kind() {
            Kind::Invalid => invalid(error.to_string()),
            _ => error,
        })
    }
}

impl BuildCache {
    /// Makes one of what is in a registry.
    pub fn in_registry(name: &str) -> Self {
        let place = CachePlace::Registry(name.to_owned());
        Self { place, all: false, ignore_errors: false, insecure: false, here: false }
    }

    /// Makes one of an image that is here, or else in a registry.
    pub fn in_image(name: &str) -> Self {
        Self { here: true, ..Self::in_registry(name) }
    }

    /// Makes one of its kind and what else is said, both in BuildKit's words.
    pub fn of<'a>(kind: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let invalid = |why: String| Error::new(Kind::Invalid, why);
        let mut cache = Self { place: CachePlace::Inline, ..Self::in_registry("") };
        let (mut name, mut path) = (None, None);
        for (key, value) in pairs {
            match key {
                "ref" => name = Some(value.to_owned()),
                "src" | "dest" => path = Some(PathBuf::from(value)),
                "mode" if matches!(value, "min" | "max") => cache.all = value == "max",
                "ignore-error" => cache.ignore_errors = value == "true",
                "registry.insecure" => cache.insecure = value == "true",
                // What they ask for is so anyway.
                "tag" | "digest" | "compression" | "compression-level" | "force-compression"
                | "oci-mediatypes" | "image-manifest" => {}
                _ => return Err(invalid(format!("unknown attribute `{key}={value}`"))),
            }
        }
        cache.place = match (kind, name, path) {
            ("registry", Some(name), _) => CachePlace::Registry(name),
            ("registry", None, _) => return Err(invalid("ref= is required".to_owned())),
            ("local", _, Some(path)) => CachePlace::Local(path),
            ("local", _, None) => return Err(invalid("a directory is required".to_owned())),
            ("inline", ..) => CachePlace::Inline,
            (other, ..) => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("unsupported type `{other}` of build cache"),
                )
                .hint("registry, local and inline are known"));
            }
        };
        Ok(cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_caches() {
        let registry = |name: &str| Some(CachePlace::Registry(name.to_owned()));
        for (text, place, all) in [
            ("a/b:c", registry("a/b:c"), false),
            ("type=registry,ref=r:5/x,mode=max", registry("r:5/x"), true),
            ("type=local,src=d", Some(CachePlace::Local("d".into())), false),
            ("type=local,dest=d,mode=min", Some(CachePlace::Local("d".into())), false),
            ("type=inline", Some(CachePlace::Inline), false),
            ("type=gha", None, false),
            ("type=registry", None, false),
            ("type=local", None, false),
            ("ref=x", None, false),
            ("type=local,src=d,mode=x", None, false),
            ("", None, false),
        ] {
            let parsed = text.parse::<BuildCache>().ok();
            assert_eq!(parsed.as_ref().map(|it| it.all), place.as_ref().map(|_| all), "{text}");
            assert_eq!(parsed.map(|it| it.place), place, "{text}");
        }
    }
}
