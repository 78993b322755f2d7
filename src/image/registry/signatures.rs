//! What lies beside images on other servers.

use reqwest::{StatusCode, Url};

use super::{Repository, failure};
use crate::error::{Error, Kind, Result};

impl Repository {
    /// Fetches a file that may be on any server, as a stranger; `None` if there is none.
    pub(crate) async fn elsewhere(&self, url: &Url, limit: u64) -> Result<Option<Vec<u8>>> {
        let host = url.host_str().unwrap_or_default();
        let response = self.client.get(url.clone()).send().await;
        let mut response = response.map_err(|error| failure::unreachable(host, &error))?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            status if status.is_success() => {}
            _ => return Err(failure::refused(host, response, false).await),
        }
        let mut data = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| failure::broken(host, &error))?
        {
            data.extend_from_slice(&chunk);
            if data.len() as u64 > limit {
                return Err(Error::new(Kind::Invalid, format!("{url} is too large")));
            }
        }
        Ok(Some(data))
    }
}
