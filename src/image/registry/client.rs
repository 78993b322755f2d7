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
    build(registry, endpoint, idle, Redirects::Anywhere)
}

/// Makes one for requests of which the body itself is a secret: it would go along to another host.
pub(super) fn discreet_client(
    registry: &str,
    endpoint: &Endpoint,
    idle: Duration,
) -> Result<Client> {
    build(registry, endpoint, Some(idle), Redirects::SameHost)
}

/// Where an answer may lead a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Redirects {
    /// To other hosts, too; headers that prove who we are stay behind.
    Anywhere,
    /// Not to another host.
    SameHost,
}

fn build(
    registry: &str,
    endpoint: &Endpoint,
    idle: Option<Duration>,
    redirects: Redirects,
) -> Result<Client> {
    let config = tls::config(registry, endpoint.verify, endpoint.cert_dir.as_deref())?;
    let mut builder = Client::builder()
        .tls_backend_preconfigured(config)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::custom(move |attempt| {
            let previous = attempt.previous().last();
            let was_encrypted = previous.is_some_and(|url| url.scheme() == "https");
            let stays = previous.is_some_and(|url| url.origin() == attempt.url().origin());
            if was_encrypted && attempt.url().scheme() != "https" {
                attempt.error("it redirects to an address without encryption")
            } else if redirects == Redirects::SameHost && !stays {
                attempt.error("it redirects to another host, which must not get your token")
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
