//! Which tags a repository has.

use reqwest::header::LINK;
use reqwest::{Method, Url};
use serde::Deserialize;

use super::{Repository, Target};
use crate::error::{Error, Kind, Result};

/// No repository has more; a registry that goes on and on does not mean well.
const MAX_TAGS: usize = 1_000_000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Repository {
    /// Lists all tags, page by page, in the registry's order.
    pub(crate) async fn tags(&self) -> Result<Vec<String>> {
        let mut tags = Vec::new();
        let mut response =
            self.request(Method::GET, Target::Repository("tags/list"), |request| request).await?;
        loop {
            let here = response.url().clone();
            let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
            let next = link.and_then(next_page).and_then(|next| here.join(next).ok());
            let data = self.body(response).await?;
            let page: Page = serde_json::from_slice(&data).map_err(|error| {
                Error::new(Kind::Invalid, "the registry's list of tags is malformed")
                    .caused_by(error)
            })?;
            let page = page.tags.unwrap_or_default();
            let is_last = page.is_empty();
            tags.extend(page);
            match next {
                // A page without tags, or one that leads to itself, would never end.
                Some(next) if !is_last && next != here && tags.len() <= MAX_TAGS => {
                    response = self.page(&next).await?;
                }
                _ => return Ok(tags),
            }
        }
    }

    async fn page(&self, url: &Url) -> Result<reqwest::Response> {
        self.request(Method::GET, Target::Url(url), |request| request).await
    }
}

/// Returns where the next page is, by a `Link` header, RFC 8288.
pub(super) fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|one| {
        let (address, parameters) = one.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters
            .split(';')
            .any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        for (link, want) in [
            ("</v2/x/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/x/tags/list?last=b&n=2")),
            ("<a>; rel=\"prev\", <b>; rel=next", Some("b")),
            ("<a>; rel=\"prev\"", None),
            ("<a", None),
            ("", None),
        ] {
            assert_eq!(next_page(link), want, "{link}");
        }
    }
}
