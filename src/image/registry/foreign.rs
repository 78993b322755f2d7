//! Layers that registries may not give away: their manifest says where else they are.

use reqwest::header::RANGE;
use reqwest::{Response, Url};

use super::client::client;
use super::endpoint::Endpoint;
use super::{IDLE_TIMEOUT, failure};
use crate::error::{Error, Kind, Result};

/// Begins to fetch a blob from an offset on, from the first of these addresses that has it.
///
/// Whoever wrote the manifest chose the addresses: they are shown neither credentials nor
/// certificates, and what comes counts for nothing unless its digest is right.
pub(super) async fn fetch(addresses: &[String], offset: u64) -> Result<Response> {
    let mut failure = Error::new(Kind::NotFound, "the manifest names no address to fetch it from");
    for address in addresses {
        match fetch_one(address, offset).await {
            Ok(response) => return Ok(response),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn fetch_one(address: &str, offset: u64) -> Result<Response> {
    let unusable = || {
        Error::new(Kind::Invalid, format!("cannot fetch from `{address}`: it is no web address"))
    };
    let url = Url::parse(address).map_err(|_| unusable())?;
    let host = url.host_str().ok_or_else(unusable)?.to_owned();
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unusable());
    }
    let endpoint = Endpoint::stranger(&host);
    let mut request = client("", &endpoint, Some(IDLE_TIMEOUT))?.get(url);
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
    }
    let response = request.send().await.map_err(|error| failure::unreachable(&host, &error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    Err(failure::refused(&host, response, false).await)
}
