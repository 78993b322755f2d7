//! Short names: which complete names they may stand for.

use super::{Registries, ShortNameMode};
use crate::error::{Error, Kind, Result};
use crate::spec::reference::{DEFAULT_REGISTRY, LOCAL_REGISTRY, Reference};

/// What a name may stand for in registries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The complete names, in the order in which to try them; never empty.
    pub names: Vec<Reference>,
    /// Who decides between them.
    pub choice: Choice,
    /// Why a short name stands for these, in Podman's words; nothing if no file says so.
    pub reason: Option<String>,
}

/// Who decides between several names that a short one may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nobody: one is tried after the other.
    None,
    /// The user, if there is one to ask.
    Wanted,
    /// The user, or it is an error.
    Required,
}

impl Registries {
    /// Completes a name as a registry's user means it.
    pub fn resolve(&self, text: &str) -> Result<Resolved> {
        let only = |name, reason| Resolved { names: vec![name], choice: Choice::None, reason };
        let Some(repository) = Reference::short(text)? else {
            return Ok(only(text.parse()?, None));
        };
        if let Some((name, origin)) = self.aliased(text, repository)? {
            let reason = format!("Resolved \"{repository}\" as an alias ({origin})");
            return Ok(only(name, Some(reason)));
        }
        let Some(search) = &self.search else { return Ok(only(text.parse()?, None)) };
        let names = self.searched(text, search)?;
        let origin = self.search_origin.as_deref().unwrap_or_default();
        if names.is_empty() {
            return Err(Error::new(
                Kind::NotFound,
                format!(
                    "short-name \"{text}\" did not resolve to an alias and no unqualified-search registries are defined in \"{origin}\""
                ),
            )
            .hint(format!("name the registry, as in docker.io/{text}")));
        }
        let choice = match self.mode.unwrap_or(ShortNameMode::Permissive) {
            _ if names.len() == 1 => Choice::None,
            ShortNameMode::Disabled => Choice::None,
            ShortNameMode::Permissive => Choice::Wanted,
            ShortNameMode::Enforcing => Choice::Required,
        };
        let reason =
            format!("Resolving \"{repository}\" using unqualified-search registries ({origin})");
        Ok(Resolved { names, choice, reason: Some(reason) })
    }

    /// Returns the names that a text may stand for on this machine, in the order in which to try them.
    ///
    /// Names that were given here come first, then those under which a pull may have recorded it.
    pub fn local(&self, text: &str) -> Result<Vec<Reference>> {
        let Some(repository) = Reference::short(text)? else { return Ok(vec![text.parse()?]) };
        let mut names = vec![Reference::in_registry(LOCAL_REGISTRY, text)?];
        names.extend(self.aliased(text, repository)?.map(|(name, _)| name));
        names.extend(self.searched(text, self.search.as_deref().unwrap_or_default())?);
        let hub = Reference::in_registry(DEFAULT_REGISTRY, text)?;
        if !names.contains(&hub) {
            names.push(hub);
        }
        Ok(names)
    }

    /// Returns what an alias makes of a short name, and who says so; tag and digest stay.
    fn aliased(&self, text: &str, repository: &str) -> Result<Option<(Reference, &str)>> {
        let Some(alias) = self.aliases.get(repository) else { return Ok(None) };
        let Some(target) = &alias.repository else { return Ok(None) };
        let name = format!("{target}{}", &text[repository.len()..]).parse()?;
        Ok(Some((name, &alias.origin)))
    }

    fn searched(&self, text: &str, search: &[String]) -> Result<Vec<Reference>> {
        search.iter().map(|registry| Reference::in_registry(registry, text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[Reference]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn completes_short_names() {
        let aliases = "[aliases]\nfedora = \"registry.fedoraproject.org/fedora\"\n\
                       \"team/app\" = \"quay.io/other/app\"\n";
        let one = format!("unqualified-search-registries = [\"quay.io\"]\n{aliases}");
        let two =
            format!("unqualified-search-registries = [\"quay.io\", \"docker.io\"]\n{aliases}");
        let enforcing = format!("short-name-mode = \"enforcing\"\n{two}");
        let disabled = format!("short-name-mode = \"disabled\"\n{two}");
        let digest = format!("@sha256:{}", "1".repeat(64));
        let fedora = format!("registry.fedoraproject.org/fedora{digest}");
        for (file, text, want, choice) in [
            ("", "x", vec!["docker.io/library/x:latest"], Choice::None),
            (aliases, "x:1", vec!["docker.io/library/x:1"], Choice::None),
            (aliases, "fedora:40", vec!["registry.fedoraproject.org/fedora:40"], Choice::None),
            (aliases, &format!("fedora{digest}"), vec![&fedora], Choice::None),
            (aliases, "team/app", vec!["quay.io/other/app:latest"], Choice::None),
            (aliases, "team/fedora", vec!["docker.io/team/fedora:latest"], Choice::None),
            (aliases, "docker.io/fedora", vec!["docker.io/library/fedora:latest"], Choice::None),
            (&one, "x", vec!["quay.io/x:latest"], Choice::None),
            (&two, "x", vec!["quay.io/x:latest", "docker.io/library/x:latest"], Choice::Wanted),
            (&two, "quay.io/x", vec!["quay.io/x:latest"], Choice::None),
            (&two, "localhost/x", vec!["localhost/x:latest"], Choice::None),
            (
                &enforcing,
                "x",
                vec!["quay.io/x:latest", "docker.io/library/x:latest"],
                Choice::Required,
            ),
            (&disabled, "x", vec!["quay.io/x:latest", "docker.io/library/x:latest"], Choice::None),
            (&enforcing, "fedora", vec!["registry.fedoraproject.org/fedora:latest"], Choice::None),
        ] {
            let resolved = Registries::parse(file, "f.conf").unwrap().resolve(text).unwrap();
            assert_eq!(names(&resolved.names), want, "{text} in {file}");
            assert_eq!(resolved.choice, choice, "{text} in {file}");
        }
        let reason = |file: &str, text: &str| {
            Registries::parse(file, "f.conf").unwrap().resolve(text).unwrap().reason
        };
        let alias = reason(aliases, "fedora:40");
        assert_eq!(alias.as_deref(), Some("Resolved \"fedora\" as an alias (f.conf)"));
        let search = reason(&one, "x:1");
        let words = "Resolving \"x\" using unqualified-search registries (f.conf)";
        assert_eq!(search.as_deref(), Some(words));
        assert_eq!(reason("", "x"), None);
        assert_eq!(reason(&one, "quay.io/x"), None);
        let none = Registries::parse("unqualified-search-registries = []", "f.conf").unwrap();
        let error = none.resolve("x").unwrap_err().to_string();
        assert_eq!(
            error,
            "short-name \"x\" did not resolve to an alias and no unqualified-search registries are defined in \"f.conf\""
        );
        assert!(none.resolve("../x").is_err());
    }

    #[test]
    fn looks_for_local_names_first() {
        let text = "unqualified-search-registries = [\"quay.io\", \"docker.io\"]\n\
                    [aliases]\nfedora = \"registry.fedoraproject.org/fedora\"\n";
        let registries = Registries::parse(text, "f.conf").unwrap();
        for (text, want) in [
            ("x", vec!["localhost/x:latest", "quay.io/x:latest", "docker.io/library/x:latest"]),
            ("quay.io/x", vec!["quay.io/x:latest"]),
            (
                "fedora:1",
                vec![
                    "localhost/fedora:1",
                    "registry.fedoraproject.org/fedora:1",
                    "quay.io/fedora:1",
                    "docker.io/library/fedora:1",
                ],
            ),
        ] {
            assert_eq!(names(&registries.local(text).unwrap()), want, "{text}");
        }
        let nothing = Registries::default().local("x").unwrap();
        assert_eq!(names(&nothing), ["localhost/x:latest", "docker.io/library/x:latest"]);
    }
}
