//! Image references: what an image is called, as in `nginx`, `localhost:5000/app:1.2` or
//! `quay.io/app@sha256:…`.
//!
//! The grammar is that of Docker's registries. A short name is completed as Docker does: without a
//! registry it belongs to `docker.io`, without a slash to its `library/`, without a tag to `latest`.
//! `localhost/NAME` is for images that were made here, `builtin/NAME` for those that need no registry.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::id::is_hex;
use crate::error::{Error, Kind, Result};

/// The registry of names that do not say one.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The registry of names that were given on this machine.
pub const LOCAL_REGISTRY: &str = "localhost";
/// The registry of images that barge makes itself.
pub const BUILTIN_REGISTRY: &str = "builtin";

const DEFAULT_TAG: &str = "latest";
/// Docker's limit for registry and path together.
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// A complete image reference: registry, path, and a tag or a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A reference as it was written: the registry may be missing.
struct Written<'a> {
    registry: Option<&'a str>,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses a name that is given to an image of this machine: without a registry it is `localhost/NAME`.
    pub fn local(text: &str) -> Result<Self> {
        let written = Written::parse(text)?;
        let registry = written.registry.unwrap_or(LOCAL_REGISTRY);
        Ok(written.complete(registry))
    }

    /// Completes a name that says no registry: it is in this one, or in this namespace of one.
    pub fn in_registry(registry: &str, text: &str) -> Result<Self> {
        format!("{registry}/{text}").parse()
    }

    /// Returns the repository of a name that says no registry; `None` if it says one.
    pub fn short(text: &str) -> Result<Option<&str>> {
        let written = Written::parse(text)?;
        Ok(written.registry.is_none().then_some(written.path))
    }

    /// Returns the names that `text` may stand for where nothing is known of registries.
    pub fn candidates(text: &str) -> Result<Vec<Self>> {
        let written = Written::parse(text)?;
        Ok(match written.registry {
            Some(registry) => vec![written.complete(registry)],
            None => vec![written.complete(LOCAL_REGISTRY), written.complete(DEFAULT_REGISTRY)],
        })
    }

    /// Makes a reference from the name of a stored one: its repository, and its tag or digest.
    pub fn stored(repository: &str, tag_or_digest: &str) -> Result<Self> {
        let separator = if tag_or_digest.contains(':') { '@' } else { ':' };
        format!("{repository}{separator}{tag_or_digest}").parse()
    }

    /// Returns the registry, with its port if one is named.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the path below the registry, as in `library/nginx`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest of the manifest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns registry and path, as in `docker.io/library/nginx`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// Returns the name of the same repository's manifest with this digest.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// Returns the name of the same repository's image with this tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        format!("{}:{tag}", self.repository()).parse()
    }

    /// Returns the same name with this digest besides its tag.
    #[must_use]
    pub fn pinned(&self, digest: &Digest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }

    /// Returns the same name without a digest, if a tag is left then.
    pub fn without_digest(&self) -> Option<Self> {
        self.tag.as_ref().map(|_| Self { digest: None, ..self.clone() })
    }

    /// Returns what a registry is asked for, or a record is filed under: the digest, else the tag.
    pub fn tag_or_digest(&self) -> &str {
        match &self.digest {
            Some(digest) => digest.as_str(),
            None => self.tag.as_deref().unwrap_or(DEFAULT_TAG),
        }
    }

    /// Returns the repository as Docker shows it: `nginx` for `docker.io/library/nginx`.
    pub fn familiar_repository(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.repository();
        }
        match self.path.strip_prefix("library/") {
            Some(name) if !name.contains('/') => name.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// Returns the reference as Docker shows it: `nginx:latest` for `docker.io/library/nginx:latest`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_repository(), Suffix(self))
    }
}

impl<'a> Written<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let invalid = |what: &str| {
            Error::new(Kind::Invalid, format!("invalid reference format: `{text}`: {what}")).hint(
                "write [REGISTRY[:PORT]/]NAME[:TAG][@DIGEST], as in docker.io/library/nginx:1.27",
            )
        };
        if text.is_empty() {
            return Err(Error::new(Kind::Invalid, "invalid reference format: the name is empty"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match rest[name_start..].find(':') {
            Some(colon) => {
                let colon = name_start + colon;
                (&rest[..colon], Some(&rest[colon + 1..]))
            }
            None => (rest, None),
        };
        let (registry, path) = match repository.split_once('/') {
            Some((first, path)) if is_registry(first) => (Some(first), path),
            _ => (None, repository),
        };
        if let Some(registry) = registry
            && !valid_registry(registry)
        {
            return Err(invalid("the registry must be a host name with an optional port"));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid("repository name must be lowercase"));
        }
        if !path.split('/').all(valid_component) {
            return Err(invalid(
                "a name has letters, digits, and single separators `.`, `_`, `-` between them",
            ));
        }
        if registry.is_none() && path.len() == 64 && is_hex(path) {
            return Err(invalid("a name cannot be 64 hexadecimal digits"));
        }
        if let Some(tag) = tag
            && !valid_tag(tag)
        {
            return Err(invalid(
                "a tag has up to 128 letters, digits, `_`, `.` and `-`, and begins with none of the latter two",
            ));
        }
        // The longest completion counts: `docker.io/library/`.
        let completed = registry.map_or("docker.io/library/".len(), |registry| registry.len() + 1);
        if completed + path.len() > MAX_REPOSITORY {
            return Err(invalid("repository name must not be more than 255 characters"));
        }
        Ok(Self { registry, path, tag, digest })
    }

    fn complete(&self, registry: &str) -> Reference {
        let registry = match registry {
            "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
            other => other,
        };
        let path = if registry == DEFAULT_REGISTRY && !self.path.contains('/') {
            format!("library/{}", self.path)
        } else {
            self.path.to_owned()
        };
        let tag = match (self.tag, &self.digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Reference { registry: registry.to_owned(), path, tag, digest: self.digest.clone() }
    }
}

/// Tells whether the first component of a name is a registry, by Docker's rule.
fn is_registry(first: &str) -> bool {
    first == LOCAL_REGISTRY
        || first == BUILTIN_REGISTRY
        || first.contains(['.', ':'])
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn valid_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match port.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if port.is_empty() => (None, None),
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let host_is_valid = host.is_none_or(|host| {
        host.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
    });
    let port_is_valid = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    host_is_valid && port_is_valid
}

/// Runs of letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn valid_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !is_word(*first) || !is_word(*last) {
        return false;
    }
    bytes.split(|byte| is_word(*byte)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
    })
}

fn valid_tag(text: &str) -> bool {
    text.len() <= MAX_TAG
        && !text.is_empty()
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

impl FromStr for Reference {
    type Err = Error;

    /// Parses a name as a registry's user means it: without a registry it is on `docker.io`.
    fn from_str(text: &str) -> Result<Self> {
        let written = Written::parse(text)?;
        let registry = written.registry.unwrap_or(DEFAULT_REGISTRY);
        Ok(written.complete(registry))
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

/// Writes `:TAG` and `@DIGEST`.
struct Suffix<'a>(&'a Reference);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = &self.0.tag {
            write!(f, ":{tag}")?;
        }
        match &self.0.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.path, Suffix(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names() {
        let hex = "0123456789abcdef".repeat(4);
        for (text, full, familiar) in [
            ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            (
                "quay.io/a/b__c--d.e_f",
                "quay.io/a/b__c--d.e_f:latest",
                "quay.io/a/b__c--d.e_f:latest",
            ),
            ("HOST/x", "HOST/x:latest", "HOST/x:latest"),
            ("builtin/hello", "builtin/hello:latest", "builtin/hello:latest"),
        ] {
            let reference: Reference =
                text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text}");
        }
        let text = format!("busybox@sha256:{hex}");
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), format!("docker.io/library/{text}"));
        assert_eq!(reference.tag(), None);
        let text = format!("quay.io/busybox:1.36@sha256:{hex}");
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), text);
        assert_eq!(reference.tag_or_digest(), format!("sha256:{hex}"));
    }

    #[test]
    fn tries_local_names_first() {
        let names = |text: &str| -> Vec<String> {
            Reference::candidates(text).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("x"), ["localhost/x:latest", "docker.io/library/x:latest"]);
        assert_eq!(names("quay.io/x"), ["quay.io/x:latest"]);
        assert_eq!(Reference::local("x:1").unwrap().to_string(), "localhost/x:1");
        assert_eq!(
            Reference::local("docker.io/x").unwrap().to_string(),
            "docker.io/library/x:latest"
        );
    }

    #[test]
    fn refuses_what_is_no_name() {
        let long_name = "a".repeat(240);
        let long_tag = format!("a:{}", "t".repeat(129));
        let hex = "0123456789abcdef".repeat(4);
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "../x",
            "a/../b",
            ".a",
            "a.",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "_a",
            "A",
            "a/B",
            "a b",
            "a\n",
            "a\0",
            "ä",
            "a:",
            "a:.t",
            "a:-t",
            "a:t:t",
            "a@",
            "a@b",
            "a@sha256:12",
            "a:t/b:",
            "host.:5000/a",
            "-host.x/a",
            "host:port/a",
            "host:99999/a",
            "host.x:/a",
            "[::1/a",
            "[x]:1/a",
            "[::1]x/a",
            "%2e%2e/a",
            "http://a/b",
            &long_name,
            &long_tag,
            &hex,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        let tag = format!("a:{}", "t".repeat(128));
        assert!(tag.parse::<Reference>().is_ok());
    }

    #[test]
    fn knows_short_names() {
        for (text, want) in [
            ("x", Some("x")),
            ("a/x:1", Some("a/x")),
            ("quay.io/x", None),
            ("localhost/x", None),
            ("builtin/hello", None),
        ] {
            assert_eq!(Reference::short(text).unwrap(), want, "{text}");
        }
        assert!(Reference::short("../x").is_err());
        let name = Reference::in_registry("quay.io/org", "a/x:1").unwrap();
        assert_eq!(name.to_string(), "quay.io/org/a/x:1");
        let name = Reference::in_registry("docker.io", "x").unwrap();
        assert_eq!(name.to_string(), "docker.io/library/x:latest");
    }
}
