//! The HTTP client of a registry: whom it trusts, which way it goes, what it follows.

use reqwest::redirect::Policy;
use reqwest::{Client, Proxy};

use std::time::Duration;

use super::endpoint::Endpoint;
use super::tls;
use crate::error::{Error, Kind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;

/// Makes the HTTP client; an answer may keep nothing waiting for longer than `idle`.
///
/// The proxy is the one that is set for this registry, else what the environment says. As with Go's
/// programs, what is on this machine is reached without one.
pub(super) fn client(
    registry: &str,
    endpoint: &Endpoint,
    idle: Option<Duration>,
) -> Result<Client> {
    let config = tls::config(registry, endpoint.verify, endpoint.cert_dir.as_deref())?;
    let mut builder = Client::builder()
        .tls_backend_preconfigured(config)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::custom(|attempt| {
            let was_encrypted =
                attempt.previous().last().is_some_and(|url| url.scheme() == "https");
            if was_encrypted && attempt.url().scheme() != "https" {
                attempt.error("it redirects to an address without encryption")
            } else if attempt.previous().len() > MAX_REDIRECTS {
                attempt.error("too many redirects")
            } else {
                attempt.follow()
            }
        }))
        .referer(false)
        .user_agent(concat!("barge/", env!("CARGO_PKG_VERSION")));
    if let Some(idle) = idle {
        builder = builder.read_timeout(idle);
    }
    if let Some(address) = &endpoint.proxy {
        let proxy = Proxy::all(address).map_err(|error| {
            Error::new(Kind::Invalid, format!("cannot use the proxy `{address}`")).caused_by(error)
        })?;
        builder = builder.proxy(proxy);
    } else if endpoint.loopback {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| {
        Error::new(Kind::Internal, "cannot set up the HTTP client").caused_by(error)
    })
}
