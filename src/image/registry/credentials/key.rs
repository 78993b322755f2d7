//! What credentials are filed under: a registry, or a part of it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};
use crate::spec::reference::{DEFAULT_REGISTRY, Reference};

/// How Docker calls its own registry in its files.
const DOCKER_ADDRESS: &str = "https://index.docker.io/v1/";

/// A registry, or a part of it, as in `quay.io` and `quay.io/team/app`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// Returns the most exact key for a repository.
    pub(crate) fn of(reference: &Reference) -> Self {
        Self(reference.repository())
    }

    /// Returns the registry with its port.
    pub(crate) fn registry(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// Tells whether this is only a part of a registry.
    pub(crate) fn is_part(&self) -> bool {
        self.0.contains('/')
    }

    /// Returns the text as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the names of entries for this key: the most exact first, the registry last.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.0.as_str()), |name| {
            name.rfind('/').map(|slash| &name[..slash])
        })
    }

    /// Tells whether an entry is exactly for this; Docker writes some names as addresses.
    pub(super) fn is_called(&self, name: &str) -> bool {
        name == self.0 || (!self.is_part() && is_registry(name, self.registry()))
    }

    /// Returns how Docker calls this in its files and to its helpers.
    pub(super) fn for_docker(&self) -> &str {
        if self.0 == DEFAULT_REGISTRY { DOCKER_ADDRESS } else { &self.0 }
    }
}

/// Tells whether a name of an entry, perhaps an address, is that of a registry.
pub(super) fn is_registry(name: &str, registry: &str) -> bool {
    let host = match name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")) {
        Some(address) => address.split('/').next().unwrap_or(address),
        None => name,
    };
    canonical(host) == canonical(registry)
}

fn canonical(registry: &str) -> &str {
    match registry {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
        other => other,
    }
}

impl FromStr for Key {
    type Err = Error;

    /// Parses what a user logs in to; of an address only the host counts.
    fn from_str(text: &str) -> Result<Self> {
        let address = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let key = match address {
            Some(address) => canonical(address.split('/').next().unwrap_or(address)),
            None => canonical(text.trim_end_matches('/')),
        };
        let invalid = || {
            Error::new(Kind::Invalid, format!("`{text}` is not a registry"))
                .hint("write HOST[:PORT][/NAMESPACE], as in quay.io or localhost:5000/team")
        };
        let (registry, path) = key.split_once('/').unwrap_or((key, ""));
        if path.contains([':', '@']) {
            return Err(Error::new(
                Kind::Invalid,
                format!("reference \"{text}\" contains tag or digest"),
            ));
        }
        // A registry is recognized as in the name of an image.
        let reference: Reference = format!("{key}/name").parse().map_err(|_| invalid())?;
        if reference.registry() != canonical(registry) {
            return Err(invalid());
        }
        Ok(Self(key.to_owned()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_users_log_in_to() {
        for (text, want) in [
            ("quay.io", Some("quay.io")),
            ("quay.io/", Some("quay.io")),
            ("localhost:5000", Some("localhost:5000")),
            ("localhost", Some("localhost")),
            ("quay.io/team/app", Some("quay.io/team/app")),
            ("docker.io/team", Some("docker.io/team")),
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("http://lab.example:5000/v2/", Some("lab.example:5000")),
            ("[::1]:5000", Some("[::1]:5000")),
            ("quay", None),
            ("", None),
            ("https://", None),
            ("quay.io/app:tag", None),
            ("quay.io/app@sha256:12", None),
            ("quay.io/../x", None),
            ("a b.c", None),
            ("user:pass@quay.io", None),
        ] {
            let got = text.parse::<Key>().ok();
            assert_eq!(got.as_ref().map(Key::as_str), want, "{text}");
        }
    }

    #[test]
    fn knows_the_names_of_an_entry() {
        for (key, name, want) in [
            ("docker.io", "https://index.docker.io/v1/", true),
            ("docker.io", "index.docker.io", true),
            ("docker.io/team", "https://index.docker.io/v1/", false),
            ("quay.io", "https://quay.io/v2/", true),
            ("quay.io", "http://quay.io", true),
            ("quay.io", "quay.io/team", false),
            ("quay.io/team", "quay.io/team", true),
            ("quay.io", "https://quay.io.example/", false),
            ("quay.io", "https://quay.io:5000/", false),
        ] {
            assert_eq!(key.parse::<Key>().unwrap().is_called(name), want, "{key} {name}");
        }
    }
}
