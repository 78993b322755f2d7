//! What registries have: Docker's search of version 1, or the list of all repositories.

use reqwest::header::LINK;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::credentials::{self, Credentials, Key};
use super::tags::next_page;
use super::{RegistryOptions, Repository, Target};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::reference::DEFAULT_REGISTRY;

/// Where docker.io can be searched; its list of repositories cannot be had.
const SEARCH_HOST: &str = "index.docker.io";
/// Pages that are asked for before a registry is no longer believed to come to an end.
const MAX_PAGES: usize = 1000;
/// Repositories in a page.
const PAGE: usize = 1000;

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Hit {
    /// Its name below the registry.
    pub(crate) name: String,
    /// What its owner says about it.
    pub(crate) description: String,
    /// How many users like it.
    #[serde(rename = "star_count")]
    pub(crate) stars: u64,
    /// Whether Docker keeps it.
    #[serde(rename = "is_official")]
    pub(crate) official: bool,
    /// Whether Docker builds it.
    #[serde(rename = "is_automated")]
    pub(crate) automated: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Found {
    results: Vec<Hit>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

/// Searches a registry; without a term all repositories are found.
pub(crate) async fn search(
    registry: &str,
    term: &str,
    limit: usize,
    options: &RegistryOptions,
) -> Result<Vec<Hit>> {
    let context = || format!("cannot search registry `{registry}`");
    let key: Key = registry.parse()?;
    let credentials = match &options.credentials {
        Some((user, password)) => Some(Credentials::Password(user.clone(), password.clone())),
        None => credentials::find_by_key(&key, options)?,
    };
    let mut whole = Repository::of_registry(registry, credentials, options).context(context)?;
    let is_docker = registry == DEFAULT_REGISTRY;
    if is_docker {
        SEARCH_HOST.clone_into(&mut whole.endpoint.host);
    }
    // The search knows the images of docker.io's own library by their last name only.
    let term = term.strip_prefix("library/").filter(|_| is_docker).unwrap_or(term);
    if !term.is_empty()
        && let Some(hits) = whole.by_term(term, limit, is_docker).await.context(context)?
    {
        return Ok(hits);
    }
    if is_docker {
        return Err(Error::new(Kind::Invalid, "docker.io cannot be searched without a term"));
    }
    whole.catalog(term, limit).await.context(context)
}

impl Repository {
    /// Asks the search; `None` if there is none and there need not be one.
    async fn by_term(&self, term: &str, limit: usize, needed: bool) -> Result<Option<Vec<Hit>>> {
        // The encoding of a query.
        let mut url = Url::parse("http://any/v1/search")
            .map_err(|error| Error::new(Kind::Internal, "cannot write a query").caused_by(error))?;
        url.query_pairs_mut().append_pair("q", term).append_pair("n", &limit.to_string());
        let path = format!("v1/search?{}", url.query().unwrap_or_default());
        let target = Target::Host(&path);
        if needed {
            let response = self.request(Method::GET, target, |request| request).await?;
            let found: Found = parse(&self.body(response).await?)?;
            return Ok(Some(found.results));
        }
        let response = self.exchange(Method::GET, target, |request| request).await?;
        if !response.status().is_success() {
            return Ok(None);
        }
        // Some registries show their pages for people to everybody who asks for what they do not have.
        let found = serde_json::from_slice::<Found>(&self.body(response).await?);
        Ok(found.ok().map(|found| found.results))
    }

    /// Goes through the names of all repositories.
    async fn catalog(&self, term: &str, limit: usize) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        let path = format!("_catalog?n={PAGE}");
        let mut response = self.request(Method::GET, Target::Api(&path), |request| request).await?;
        for _ in 0..MAX_PAGES {
            let here = response.url().clone();
            let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
            let next = link.and_then(next_page).and_then(|next| here.join(next).ok());
            let page: Catalog = parse(&self.body(response).await?)?;
            let names = page.repositories.unwrap_or_default();
            let is_last = names.is_empty();
            let matching = names.into_iter().filter(|name| name.contains(term));
            hits.extend(matching.map(|name| Hit { name, ..Hit::default() }));
            match next {
                Some(next) if !is_last && next != here && hits.len() < limit => {
                    let target = Target::Url(&next);
                    response = self.request(Method::GET, target, |request| request).await?;
                }
                _ => break,
            }
        }
        Ok(hits)
    }
}

fn parse<T: DeserializeOwned>(data: &[u8]) -> Result<T> {
    serde_json::from_slice(data).context(|| "the registry's answer is malformed")
}
