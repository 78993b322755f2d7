//! One file of `registries.conf`, as it is written, and what may be wrong with it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Access, Alias, Entry, Mirror, Registries, ShortNameMode, Usage};
use crate::error::{Error, Kind, Result};
use crate::spec::reference::Reference;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<String>,
    credential_helpers: Option<Vec<String>>,
    registry: Vec<RegistryTable>,
    aliases: BTreeMap<String, String>,
    /// Version 1.
    registries: Option<Lists>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct RegistryTable {
    prefix: String,
    location: String,
    insecure: bool,
    proxy: Option<String>,
    blocked: bool,
    mirror_by_digest_only: bool,
    pull_from_mirror: String,
    mirror: Vec<MirrorTable>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    insecure: bool,
    proxy: Option<String>,
    pull_from_mirror: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Lists {
    search: List,
    insecure: List,
    block: List,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct List {
    registries: Vec<String>,
}

impl Registries {
    /// Parses a file; `origin` is its path, for messages. Keys that are not known are passed over.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let mut file: File = toml::from_str(text).map_err(|error| {
            let place = match error.span() {
                Some(span) => {
                    let before = text.get(..span.start).unwrap_or(text);
                    format!("{origin}, line {}", before.matches('\n').count() + 1)
                }
                None => origin.to_owned(),
            };
            Error::new(Kind::Invalid, format!("{place}: {}", error.message().replace('\n', "; ")))
                .hint("see containers-registries.conf(5) for how it is written")
        })?;
        if let Some(lists) = file.registries.take() {
            file.convert(lists).map_err(|what| invalid(origin, what))?;
        }
        file.check(origin).map_err(|what| invalid(origin, what))
    }
}

fn invalid(origin: &str, what: String) -> Error {
    Error::new(Kind::Invalid, format!("{origin}: {what}"))
        .hint("see containers-registries.conf(5) for how it is written")
}

impl File {
    /// Writes lists of version 1 as tables of version 2.
    fn convert(&mut self, lists: Lists) -> Result<(), String> {
        if self.unqualified_search_registries.is_some() || !self.registry.is_empty() {
            return Err("it mixes version 1 and version 2 of its format".to_owned());
        }
        self.unqualified_search_registries = Some(lists.search.registries);
        let mut names = lists.insecure.registries.clone();
        names.extend(lists.block.registries.clone());
        names.sort();
        names.dedup();
        for name in names {
            self.registry.push(RegistryTable {
                insecure: lists.insecure.registries.contains(&name),
                blocked: lists.block.registries.contains(&name),
                location: name,
                ..RegistryTable::default()
            });
        }
        Ok(())
    }

    fn check(self, origin: &str) -> Result<Registries, String> {
        let mode = match self.short_name_mode.as_deref() {
            None | Some("") => None,
            Some("enforcing") => Some(ShortNameMode::Enforcing),
            Some("permissive") => Some(ShortNameMode::Permissive),
            Some("disabled") => Some(ShortNameMode::Disabled),
            Some(other) => {
                return Err(format!(
                    "unknown short-name-mode `{other}`: write enforcing, permissive or disabled"
                ));
            }
        };
        let search = match self.unqualified_search_registries {
            None => None,
            Some(list) => {
                let checked: Result<_, _> = list.iter().map(|name| host(name)).collect();
                Some(checked?)
            }
        };
        let mut aliases = BTreeMap::new();
        for (name, value) in self.aliases {
            let repository = check_alias(&name, &value)?;
            aliases.insert(name, Alias { repository, origin: origin.to_owned() });
        }
        let mut entries: Vec<Entry> = Vec::new();
        for table in self.registry {
            let entry = table.check(origin)?;
            let place = |entry: &Entry| entry.location.clone().unwrap_or(entry.prefix.clone());
            for other in entries.iter().filter(|other| place(other) == place(&entry)) {
                let setting = if other.access.insecure != entry.access.insecure {
                    "insecure"
                } else if other.blocked != entry.blocked {
                    "blocked"
                } else {
                    continue;
                };
                return Err(format!(
                    "registry `{}` is defined several times with conflicting `{setting}`",
                    place(&entry)
                ));
            }
            // The first one of a prefix counts.
            if !entries.iter().any(|other| other.prefix == entry.prefix) {
                entries.push(entry);
            }
        }
        Ok(Registries {
            search_origin: search.as_ref().map(|_: &Vec<String>| origin.to_owned()),
            search,
            mode,
            aliases,
            entries,
            helpers: self.credential_helpers,
        })
    }
}

impl RegistryTable {
    fn check(self, origin: &str) -> Result<Entry, String> {
        let place = location(&self.location)?;
        let prefix = location(&self.prefix)?;
        let prefix = if prefix.is_empty() { place.clone() } else { prefix };
        if prefix.is_empty() {
            return Err("a registry has neither prefix nor location".to_owned());
        }
        let is_wildcard = prefix.starts_with("*.");
        if prefix.trim_start_matches("*.").contains('*')
            || (is_wildcard && prefix.contains(['/', ':', '@']))
        {
            return Err(format!("prefix `{prefix}`: a wildcard is written as in *.example.com"));
        }
        if place.is_empty() && !is_wildcard {
            return Err(format!("registry `{prefix}` has no location"));
        }
        if !self.pull_from_mirror.is_empty() {
            return Err(format!(
                "registry `{prefix}`: pull-from-mirror is for its mirrors, not for itself"
            ));
        }
        let by_digest_only = self.mirror_by_digest_only;
        let mirrors: Result<_, _> =
            self.mirror.into_iter().map(|mirror| mirror.check(&prefix, by_digest_only)).collect();
        Ok(Entry {
            location: (!place.is_empty()).then_some(place),
            access: Access { insecure: self.insecure, proxy: self.proxy },
            blocked: self.blocked,
            mirrors: mirrors?,
            prefix,
            origin: origin.to_owned(),
        })
    }
}

impl MirrorTable {
    fn check(self, prefix: &str, by_digest_only: bool) -> Result<Mirror, String> {
        let location = location(&self.location)?;
        if location.is_empty() {
            return Err(format!("a mirror of `{prefix}` has no location"));
        }
        if by_digest_only && !self.pull_from_mirror.is_empty() {
            return Err(format!(
                "registry `{prefix}` has mirror-by-digest-only, its mirror `{location}` pull-from-mirror"
            ));
        }
        let usage = match self.pull_from_mirror.as_str() {
            "" if by_digest_only => Usage::DigestOnly,
            "" | "all" => Usage::All,
            "digest-only" => Usage::DigestOnly,
            "tag-only" => Usage::TagOnly,
            other => {
                return Err(format!(
                    "mirror `{location}`: unknown pull-from-mirror `{other}`: write all, digest-only or tag-only"
                ));
            }
        };
        Ok(Mirror {
            location,
            access: Access { insecure: self.insecure, proxy: self.proxy },
            usage,
        })
    }
}

/// Checks a host with an optional path.
fn location(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(format!("`{text}`: registries are written without http:// and https://"));
    }
    Ok(text.to_owned())
}

/// Checks a host with an optional port.
fn host(text: &str) -> Result<String, String> {
    let host = location(text)?;
    match Reference::in_registry(&host, "x/y") {
        // A word that is no host would be taken for a part of the path.
        Ok(name) if name.path() == "x/y" => Ok(host),
        _ => Err(format!("invalid unqualified-search-registries entry `{text}`")),
    }
}

/// Checks an alias; nothing stands for one that is erased.
fn check_alias(name: &str, value: &str) -> Result<Option<String>, String> {
    let is_bare = |reference: &Reference, text: &str| {
        // A tag would follow the last slash, and a digest an at sign.
        let last = text.rsplit('/').next().unwrap_or(text);
        reference.digest().is_none() && !last.contains(':')
    };
    match Reference::short(name) {
        Ok(Some(repository)) if repository == name => {}
        _ => {
            return Err(format!(
                "alias `{name}`: a short name has no registry, tag or digest, as in `fedora`"
            ));
        }
    }
    if value.is_empty() {
        return Ok(None);
    }
    match (Reference::short(value), value.parse::<Reference>()) {
        (Ok(None), Ok(reference)) if is_bare(&reference, value) => Ok(Some(value.to_owned())),
        _ => Err(format!(
            "alias `{name}`: `{value}` must be a registry and a repository, without tag or digest"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong() {
        let mirrored = |registry: &str, mirror: &str| {
            format!(
                "[[registry]]\nlocation = \"a.example\"\n{registry}\n[[registry.mirror]]\n{mirror}"
            )
        };
        for (text, want) in [
            ("a = \n", "f.conf, line 1: "),
            ("\n\n[[registry]\n", "f.conf, line 3: "),
            ("\nunqualified-search-registries = \"x\"\n", "f.conf, line 2: invalid type"),
            ("[[registry]]\n", "f.conf: a registry has neither"),
            ("[[registry]]\nprefix = \"a.example\"\n", "`a.example` has no location"),
            ("[[registry]]\nlocation = \"https://a.example\"\n", "without http://"),
            ("[[registry]]\nprefix = \"a.*.example\"\nlocation=\"b\"", "as in *.example.com"),
            ("[[registry]]\nprefix = \"*.example/foo\"\n", "as in *.example.com"),
            ("[[registry]]\nlocation = \"a\"\npull-from-mirror = \"all\"", "not for itself"),
            (
                "[[registry]]\nprefix=\"x.example\"\nlocation=\"a\"\nblocked=true\n[[registry]]\nlocation=\"a\"",
                "conflicting `blocked`",
            ),
            (&mirrored("", ""), "a mirror of `a.example` has no location"),
            (&mirrored("", "location = \"m\"\npull-from-mirror = \"x\""), "unknown pull-from"),
            (
                &mirrored(
                    "mirror-by-digest-only = true",
                    "location = \"m\"\npull-from-mirror = \"all\"",
                ),
                "has mirror-by-digest-only",
            ),
            ("unqualified-search-registries=[\"a.example/b\"]", "invalid unqualified-search"),
            ("unqualified-search-registries=[\"a b\"]", "invalid unqualified-search"),
            ("unqualified-search-registries=[\"word\"]", "invalid unqualified-search"),
            ("unqualified-search-registries=[\"\"]", "invalid unqualified-search"),
            ("short-name-mode = \"x\"", "unknown short-name-mode `x`"),
            ("[aliases]\n\"quay.io/a\" = \"quay.io/b\"", "has no registry"),
            ("[aliases]\n\"a:1\" = \"quay.io/b\"", "has no registry"),
            ("[aliases]\na = \"b\"", "must be a registry and a repository"),
            ("[aliases]\na = \"quay.io/b:1\"", "without tag or digest"),
            ("[aliases]\na = \"quay.io/a\"\na = \"quay.io/b\"", "f.conf, line 3: "),
            (
                "unqualified-search-registries=[]\n[registries.search]\nregistries=[\"a\"]",
                "mixes version 1 and version 2",
            ),
        ] {
            let error = Registries::parse(text, "f.conf").unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
            assert!(error.starts_with("f.conf") && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn understands_version_1() {
        let text = "[registries.search]\nregistries = ['one.example', 'two.example:5000']\n\
                    [registries.insecure]\nregistries = ['three.example']\n\
                    [registries.block]\nregistries = ['four.example']\n";
        let registries = Registries::parse(text, "f.conf").unwrap();
        assert_eq!(registries.search().unwrap(), ["one.example", "two.example:5000"]);
        assert!(registries.access(&"three.example/x".parse().unwrap()).unwrap().insecure);
        assert!(registries.access(&"four.example/x".parse().unwrap()).is_err());
    }

    #[test]
    fn passes_over_what_it_does_not_know() {
        let text = "additional-layer-store-auth-helper = \"x\"\nnew = { a = 1 }\n\
                    credential-helpers = [\"secretservice\"]\n[[registry]]\nlocation=\"a.example/\"\nnew=1\n";
        let registries = Registries::parse(text, "f.conf").unwrap();
        assert_eq!(registries.credential_helpers().unwrap(), ["secretservice"]);
        assert_eq!(Registries::parse("", "f.conf").unwrap(), Registries::default());
    }
}
