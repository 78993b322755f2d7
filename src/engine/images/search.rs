//! `search`: what registries have.

use crate::error::{Error, Kind, Result};
use crate::image::registry::{self, RegistryOptions};
use crate::spec::reference::{DEFAULT_REGISTRY, Reference};
use crate::store::registries;

/// How many are found if nothing else is said.
const LIMIT: usize = 25;

/// What is searched for.
#[derive(Clone, Debug, Default)]
pub struct SearchOptions {
    /// How many are found in each registry.
    pub limit: Option<usize>,
    /// How many users must like it.
    pub stars: u64,
    /// Whether Docker must, or must not, keep it.
    pub official: Option<bool>,
    /// Whether Docker must, or must not, build it.
    pub automated: Option<bool>,
    /// How to talk to the registries.
    pub registry: RegistryOptions,
}

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchHit {
    /// The registry.
    pub index: String,
    /// Its full name.
    pub name: String,
    /// What its owner says about it.
    pub description: String,
    /// How many users like it.
    pub stars: u64,
    /// Whether Docker keeps it.
    pub official: bool,
    /// Whether Docker builds it.
    pub automated: bool,
}

/// What several registries have.
#[derive(Debug, Default)]
pub struct Found {
    /// The repositories, registry by registry.
    pub hits: Vec<SearchHit>,
    /// Why others could not be asked.
    pub failures: Vec<Error>,
}

/// Searches for repositories: in the registry that the term begins with, else in all in which short
/// names are searched. Fails if nothing was found and some registry could not be asked.
pub fn search(term: &str, options: &SearchOptions) -> Result<Found> {
    let (registries, term) = split(term)?;
    let limit = options.limit.unwrap_or(LIMIT);
    let runtime = registry::runtime()?;
    let mut found = Found::default();
    for index in registries {
        let asked = registry::search(&index, &term, limit, &options.registry);
        match runtime.block_on(asked) {
            Ok(hits) => {
                let hits = hits.into_iter().take(limit).filter(|hit| {
                    hit.stars >= options.stars
                        && options.official.is_none_or(|wanted| wanted == hit.official)
                        && options.automated.is_none_or(|wanted| wanted == hit.automated)
                });
                found.hits.extend(hits.map(|hit| SearchHit {
                    name: full_name(&index, &hit.name),
                    index: index.clone(),
                    description: hit.description,
                    stars: hit.stars,
                    official: hit.official,
                    automated: hit.automated,
                }));
            }
            Err(error) => found.failures.push(error),
        }
    }
    if found.hits.is_empty() && !found.failures.is_empty() {
        return Err(found.failures.remove(0));
    }
    Ok(found)
}

/// Lists tags of one repository; returns its full name, too.
pub fn search_tags(term: &str, options: &SearchOptions) -> Result<(String, Vec<String>)> {
    let (registries, name) = split(term)?;
    let registry = registries.first().map_or(DEFAULT_REGISTRY, String::as_str);
    let reference: Reference = format!("{registry}/{name}").parse()?;
    let is_bare = reference.digest().is_none() && !name.contains(':');
    if !is_bare {
        return Err(Error::new(Kind::Invalid, format!("`{term}` has a tag or a digest already"))
            .hint("name the repository only"));
    }
    let mut tags = crate::image::pull::tags(&reference, &options.registry)?;
    tags.truncate(options.limit.unwrap_or(LIMIT));
    Ok((reference.repository(), tags))
}

/// Splits a term into registries and what is searched for there.
fn split(term: &str) -> Result<(Vec<String>, String)> {
    if let Some((first, rest)) = term.split_once('/') {
        let is_registry = first == "localhost" || first.contains(['.', ':']);
        if is_registry {
            return Ok((vec![first.to_owned()], rest.to_owned()));
        }
    }
    let configured = registries::read()?.search().map(<[String]>::to_vec);
    Ok((configured.unwrap_or_else(|| vec![DEFAULT_REGISTRY.to_owned()]), term.to_owned()))
}

fn full_name(index: &str, name: &str) -> String {
    match index {
        DEFAULT_REGISTRY if !name.contains('/') => format!("{index}/library/{name}"),
        _ => format!("{index}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names_as_docker_shows_them() {
        for (index, name, want) in [
            ("docker.io", "nginx", "docker.io/library/nginx"),
            ("docker.io", "user/app", "docker.io/user/app"),
            ("quay.io", "app", "quay.io/app"),
        ] {
            assert_eq!(full_name(index, name), want);
        }
    }

    #[test]
    fn a_term_may_begin_with_a_registry() {
        for (term, registry, rest) in [
            ("quay.io/team/app", "quay.io", "team/app"),
            ("localhost/x", "localhost", "x"),
            ("host:5000/", "host:5000", ""),
        ] {
            let want = (vec![registry.to_owned()], rest.to_owned());
            assert_eq!(split(term).unwrap(), want, "{term}");
        }
        assert_eq!(split("library/nginx").unwrap().1, "library/nginx");
    }
}
