//! `registries.conf`: which registries a name leads to. Pure; `store::registries` reads the
//! files.
//!
//! The format is that of containers-registries.conf(5), version 2; lists of version 1 are understood.
//! Unlike Podman, short names lead to `docker.io` where nothing says which registries to search: that
//! is what they mean to users of Docker. An empty list of search registries still forbids them.

mod file;
mod resolve;

use std::collections::BTreeMap;

use super::reference::{DEFAULT_REGISTRY, Reference};
use crate::error::{Error, Kind, Result};

pub use resolve::{Choice, Resolved};

/// What all files together say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// Registries, or namespaces of such, where short names are looked for; `None` if nobody says.
    search: Option<Vec<String>>,
    /// Where that was said.
    search_origin: Option<String>,
    mode: Option<ShortNameMode>,
    aliases: BTreeMap<String, Alias>,
    entries: Vec<Entry>,
    helpers: Option<Vec<String>>,
}

/// What to do with a short name that several registries may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShortNameMode {
    /// Ask the user, and fail if nobody can be asked.
    Enforcing,
    /// Ask the user, and try one after the other if nobody can be asked.
    Permissive,
    /// Try one after the other.
    Disabled,
}

/// What a short name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alias {
    /// The repository; nothing where the alias was erased.
    repository: Option<String>,
    /// The file that says so.
    origin: String,
}

/// One `[[registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Which names it is about.
    prefix: String,
    /// What stands for the prefix on the network; nothing if it is the same.
    location: Option<String>,
    access: Access,
    blocked: bool,
    mirrors: Vec<Mirror>,
    /// The file that says so.
    origin: String,
}

/// One `[[registry.mirror]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    location: String,
    access: Access,
    usage: Usage,
}

/// For which names a mirror is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    All,
    DigestOnly,
    TagOnly,
}

/// How a registry is talked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Whether any certificate will do, or none.
    pub insecure: bool,
    /// Address of the proxy that leads there; what the environment says otherwise.
    pub proxy: Option<String>,
}

/// A place from which an image can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is called there.
    pub reference: Reference,
    /// How that registry is talked to.
    pub access: Access,
    /// Whether it stands in for the registry that was named.
    pub is_mirror: bool,
}

impl Registries {
    /// Adds what a file says that counts more than the files before.
    pub fn overlay(&mut self, later: Self) {
        for entry in later.entries {
            match self.entries.iter_mut().find(|known| known.prefix == entry.prefix) {
                Some(known) => *known = entry,
                None => self.entries.push(entry),
            }
        }
        if later.search.is_some() {
            self.search = later.search;
            self.search_origin = later.search_origin;
        }
        self.mode = later.mode.or(self.mode);
        self.helpers = later.helpers.or(self.helpers.take());
        self.aliases.extend(later.aliases);
    }

    /// Returns the registries in which users search, if a file says which.
    pub fn search(&self) -> Option<&[String]> {
        self.search.as_deref()
    }

    /// Returns the programs that keep credentials, if a file says which.
    pub fn credential_helpers(&self) -> Option<&[String]> {
        self.helpers.as_deref()
    }

    /// Returns how a registry is talked to that is named itself, for whatever is not a pull.
    pub fn access(&self, reference: &Reference) -> Result<Access> {
        let Some((entry, _)) = self.entry(&reference.to_string()) else {
            return Ok(Access::default());
        };
        entry.check_not_blocked()?;
        Ok(entry.access.clone())
    }

    /// Returns the places from which an image can be pulled, in the order in which to try them.
    pub fn places(&self, reference: &Reference) -> Result<Vec<Place>> {
        let name = reference.to_string();
        let Some((entry, matched)) = self.entry(&name) else {
            let reference = reference.clone();
            return Ok(vec![Place { reference, access: Access::default(), is_mirror: false }]);
        };
        entry.check_not_blocked()?;
        let rest = &name[matched..];
        let by_digest = reference.digest().is_some();
        let mut places = Vec::new();
        for mirror in &entry.mirrors {
            let is_used = match mirror.usage {
                Usage::All => true,
                Usage::DigestOnly => by_digest,
                Usage::TagOnly => !by_digest,
            };
            if is_used {
                let reference = entry.relocate(&mirror.location, rest)?;
                places.push(Place { reference, access: mirror.access.clone(), is_mirror: true });
            }
        }
        let own = match &entry.location {
            Some(location) => entry.relocate(location, rest)?,
            None => reference.clone(),
        };
        places.push(Place { reference: own, access: entry.access.clone(), is_mirror: false });
        Ok(places)
    }

    /// Returns the entry with the longest prefix of a complete name, and how much of the name that is.
    fn entry(&self, name: &str) -> Option<(&Entry, usize)> {
        let mut best: Option<(&Entry, usize)> = None;
        for entry in &self.entries {
            if let Some(matched) = entry.matches(name)
                && best.is_none_or(|(known, _)| known.prefix.len() < entry.prefix.len())
            {
                best = Some((entry, matched));
            }
        }
        best
    }
}

impl Entry {
    /// Returns how much of a complete name the prefix stands for; `None` if it is about other names.
    fn matches(&self, name: &str) -> Option<usize> {
        let end = match self.prefix.strip_prefix('*') {
            Some(domain) => {
                let index = name.find(domain)?;
                // A domain is in the host's name or nowhere.
                if name[..index].contains('/') {
                    return None;
                }
                index + domain.len()
            }
            None if name.starts_with(&self.prefix) => self.prefix.len(),
            None => return None,
        };
        let follows = name[end..].bytes().next();
        matches!(follows, None | Some(b':' | b'/' | b'@')).then_some(end)
    }

    /// Returns the name that a registry has for an image: `rest` follows the prefix.
    fn relocate(&self, location: &str, rest: &str) -> Result<Reference> {
        let context = || {
            format!("cannot use the location `{location}` of `{}` in {}", self.prefix, self.origin)
        };
        let reference: Reference =
            format!("{location}{rest}").parse().map_err(|error: Error| error.within(context()))?;
        // A word that is no host would be taken for a repository of docker.io.
        let host = location.split('/').next().unwrap_or(location);
        if host == reference.registry() || host.ends_with(DEFAULT_REGISTRY) {
            return Ok(reference);
        }
        Err(Error::new(Kind::Invalid, context())
            .hint("a location begins with a registry's host name, as in mirror.example.com:5000"))
    }

    fn check_not_blocked(&self) -> Result<()> {
        if self.blocked {
            return Err(Error::new(
                Kind::Denied,
                format!("registry {} is blocked in {}", self.prefix, self.origin),
            )
            .hint("whoever runs this machine does not want images from there"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(text: &str) -> Registries {
        Registries::parse(text, "test.conf").unwrap()
    }

    const FILE: &str = r#"
        [[registry]]
        prefix = "example.com/foo"
        location = "internal.example.org/bar"
        [[registry.mirror]]
        location = "mirror-0.local/for-foo"
        proxy = "http://proxy:8000"
        [[registry.mirror]]
        location = "localhost:5001/foo"
        insecure = true
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "tags.local"
        pull-from-mirror = "tag-only"

        [[registry]]
        location = "registry.com"
        insecure = true
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "mirror.registry.com"

        [[registry]]
        prefix = "*.wild.example"
        [[registry.mirror]]
        location = "mirror.local/wild"

        [[registry]]
        prefix = "registry.com/secret"
        location = "registry.com/secret"
        insecure = true
        blocked = true

        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "hub.local:5000"

        [[registry]]
        prefix = "moved.example/app:old"
        location = "registry.com/app:new"
        insecure = true
    "#;

    #[test]
    fn lists_places_in_order() {
        let registries = registries(FILE);
        let digest = format!("sha256:{}", "1".repeat(64));
        let places = |name: &str| -> Vec<String> {
            registries
                .places(&name.parse().unwrap())
                .unwrap()
                .iter()
                .map(|place| {
                    let access = &place.access;
                    let mark = if access.insecure { "!" } else { "" };
                    let proxy =
                        access.proxy.as_ref().map_or(String::new(), |proxy| format!(" by {proxy}"));
                    format!("{mark}{}{proxy}", place.reference)
                })
                .collect()
        };
        for (name, want) in [
            ("quay.io/a/b", vec!["quay.io/a/b:latest"]),
            ("example.com/other", vec!["example.com/other:latest"]),
            ("example.com/foobar", vec!["example.com/foobar:latest"]),
            (
                "example.com/foo/image:1",
                vec![
                    "mirror-0.local/for-foo/image:1 by http://proxy:8000",
                    "tags.local/image:1",
                    "internal.example.org/bar/image:1",
                ],
            ),
            (
                &format!("example.com/foo@{digest}"),
                vec![
                    &format!("mirror-0.local/for-foo@{digest} by http://proxy:8000"),
                    &format!("!localhost:5001/foo@{digest}"),
                    &format!("internal.example.org/bar@{digest}"),
                ],
            ),
            ("registry.com/image", vec!["!registry.com/image:latest"]),
            (
                &format!("registry.com/image:1@{digest}"),
                vec![
                    &format!("mirror.registry.com/image:1@{digest}"),
                    &format!("!registry.com/image:1@{digest}"),
                ],
            ),
            ("registry.community/image", vec!["registry.community/image:latest"]),
            ("a.wild.example/x", vec!["mirror.local/wild/x:latest", "a.wild.example/x:latest"]),
            ("a.b.wild.example/x", vec!["mirror.local/wild/x:latest", "a.b.wild.example/x:latest"]),
            ("wild.example/x", vec!["wild.example/x:latest"]),
            ("quay.io/a.wild.example/x", vec!["quay.io/a.wild.example/x:latest"]),
            (
                "nginx",
                vec!["hub.local:5000/library/nginx:latest", "docker.io/library/nginx:latest"],
            ),
            ("moved.example/app:old", vec!["!registry.com/app:new"]),
            ("moved.example/app:older", vec!["moved.example/app:older"]),
        ] {
            assert_eq!(places(name), want, "{name}");
        }
    }

    #[test]
    fn refuses_what_is_blocked() {
        let registries = registries(FILE);
        let name: Reference = "registry.com/secret/plan".parse().unwrap();
        for error in [registries.places(&name).unwrap_err(), registries.access(&name).unwrap_err()]
        {
            assert_eq!(error.kind(), Kind::Denied);
            assert!(error.to_string().contains("registry.com/secret is blocked in test.conf"));
        }
        assert!(registries.access(&"registry.com/x".parse().unwrap()).unwrap().insecure);
        assert!(!registries.access(&"quay.io/x".parse().unwrap()).unwrap().insecure);
    }

    #[test]
    fn refuses_locations_without_a_host() {
        let registries = registries("[[registry]]\nprefix=\"a.example\"\nlocation=\"mirror\"");
        let error = registries.places(&"a.example/x".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("`mirror` of `a.example` in test.conf"), "{error}");
    }

    #[test]
    fn later_files_count_more() {
        let mut all = registries(FILE);
        all.overlay(registries(
            "unqualified-search-registries = []\n[[registry]]\nlocation = \"registry.com\"\n\
             [aliases]\na = \"quay.io/a/a\"\nb = \"quay.io/b/b\"",
        ));
        all.overlay(registries("[aliases]\na = \"\"\n"));
        let places = all.places(&"registry.com/image".parse().unwrap()).unwrap();
        assert!(!places[0].access.insecure);
        assert_eq!(places.len(), 1);
        assert_eq!(all.search(), Some(&[][..]));
        assert_eq!(all.resolve("b").unwrap().names[0].to_string(), "quay.io/b/b:latest");
        assert!(all.resolve("a").is_err());
    }
}
