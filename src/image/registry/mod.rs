//! A client for registries: Docker's HTTP API v2, OCI's distribution specification.
//!
//! Asynchronous inside, on a runtime of one thread that ends with the pull. Secrets go to the registry
//! that they are for and to the token server that it names, never along a redirect to another host.

mod authorization;
mod challenge;
mod client;
mod credentials;
mod download;
mod endpoint;
mod failure;
mod foreign;
mod login;
mod options;
mod search;
mod signatures;
mod tags;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod upload;
mod web;

use std::time::Duration;

use reqwest::header::{ACCEPT, RANGE, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::RwLock;
use tokio::time::sleep;

use authorization::Authorization;
use client::client;
use credentials::Credentials;
pub(crate) use download::{Download, Order, deliver};
use endpoint::Endpoint;
pub use login::{
    CredentialFiles, Login, LoginDialog, LoginOptions, Logout, check_login, logged_in,
    logged_in_as, login, logout, logout_all,
};
pub use options::{LoginSource, RegistryOptions};
pub(crate) use search::search;
pub(crate) use upload::{Content, Growing};
pub(crate) use web::WebFile;

use super::manifest::{Blob, MEDIA_TYPES};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::spec::reference::Reference;
use crate::spec::registries::Place;
use crate::store::blob::{MAX_DOCUMENT, digest_of};
use crate::store::registries;

/// What the distribution specification grants a manifest.
const MAX_MANIFEST: usize = 4 << 20;
/// How long nothing may come.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);
const RETRIES: u32 = 3;
const MAX_WAIT: Duration = Duration::from_secs(20);

/// A repository of a registry.
pub(crate) struct Repository {
    client: Client,
    /// For uploads, which take as long as they take before an answer comes.
    patient: Option<Client>,
    endpoint: Endpoint,
    /// Address of the API, chosen by the first request.
    base: RwLock<Option<Url>>,
    registry: String,
    path: String,
    credentials: Option<Credentials>,
    authorization: RwLock<Authorization>,
    /// What a token must be good for; if nothing is said, what the registry asks for.
    scopes: Vec<String>,
    /// How often something is tried that may go better the next time.
    attempts: u32,
    /// Time between two tries; it grows if nothing is said.
    delay: Option<Duration>,
}

/// Where a request goes.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// To a path of the host that is not the API's.
    Host(&'a str),
    /// To a path of the API.
    Api(&'a str),
    /// To a path below the repository.
    Repository(&'a str),
    /// Where an answer sent us; only the registry's own host is shown who we are.
    Url(&'a Url),
}

impl Repository {
    /// Gets ready to talk to a repository; sends nothing yet.
    ///
    /// For a pull there may be mirrors: see [`at`](Self::at).
    pub(crate) fn new(reference: &Reference, options: &RegistryOptions) -> Result<Self> {
        let access = registries::read()?.access(reference)?;
        Self::at(&Place { reference: reference.clone(), access, is_mirror: false }, options)
    }

    /// As [`new`](Self::new), for a repository whose place is known.
    pub(crate) fn at(place: &Place, options: &RegistryOptions) -> Result<Self> {
        let reference = &place.reference;
        let credentials = match &options.credentials {
            Some((user, password)) => Some(Credentials::Password(user.clone(), password.clone())),
            None => credentials::find(reference, options)?,
        };
        Self::with_credentials(place, credentials, options)
    }

    /// Gets ready to talk to a registry as a whole, as somebody or nobody.
    fn of_registry(
        registry: &str,
        credentials: Option<Credentials>,
        options: &RegistryOptions,
    ) -> Result<Self> {
        // What is configured for the registry is found by the name of anything in it.
        let reference = format!("{registry}/any").parse()?;
        let access = registries::read()?.access(&reference)?;
        let place = Place { reference, access, is_mirror: false };
        let mut whole = Self::with_credentials(&place, credentials, options)?;
        whole.path.clear();
        Ok(whole)
    }

    fn with_credentials(
        place: &Place,
        credentials: Option<Credentials>,
        options: &RegistryOptions,
    ) -> Result<Self> {
        let Place { reference, access, .. } = place;
        let registry = reference.registry();
        let insecure = endpoint::insecure_registries();
        let verify = options.tls_verify.or(access.insecure.then_some(false));
        let endpoint = Endpoint {
            proxy: access.proxy.clone(),
            cert_dir: options.cert_dir.clone(),
            ..Endpoint::new(registry, verify, &insecure)
        };
        let client = client(registry, &endpoint, Some(IDLE_TIMEOUT))?;
        Ok(Self {
            client,
            patient: None,
            endpoint,
            base: RwLock::new(None),
            registry: registry.to_owned(),
            path: reference.path().to_owned(),
            credentials,
            authorization: RwLock::new(Authorization::None),
            scopes: Vec::new(),
            attempts: options.retry.unwrap_or(RETRIES).saturating_add(1),
            delay: options.retry_delay,
        })
    }

    /// As [`new`](Self::new), for uploads: also to take blobs over from other repositories of the registry.
    pub(crate) fn for_push(
        reference: &Reference,
        options: &RegistryOptions,
        mounted: &[String],
    ) -> Result<Self> {
        let mut repository = Self::new(reference, options)?;
        repository.patient = Some(client(reference.registry(), &repository.endpoint, None)?);
        let own = format!("repository:{}:pull,push", repository.path);
        let others = mounted.iter().map(|path| format!("repository:{path}:pull"));
        repository.scopes = std::iter::once(own).chain(others).collect();
        Ok(repository)
    }

    /// Fetches a manifest or an index by tag or digest, and its digest.
    pub(crate) async fn manifest(&self, reference: &str) -> Result<(Vec<u8>, Digest)> {
        let path = format!("manifests/{reference}");
        let accept = MEDIA_TYPES.join(", ");
        let response = self.get(&path, |request| request.header(ACCEPT, accept.as_str())).await?;
        let said = told_digest(&response);
        let data = self.body(response).await?;
        if data.len() > MAX_MANIFEST {
            return Err(Error::new(
                Kind::Invalid,
                "the image's manifest is larger than 4 MiB, which no registry has to keep",
            ));
        }
        let digest = digest_of(&data);
        let wanted = reference.parse::<Digest>().ok().or(said);
        match wanted {
            Some(wanted) if wanted != digest => Err(Error::new(
                Kind::Invalid,
                format!("the manifest is damaged: its digest should be {wanted} and is {digest}"),
            )),
            _ => Ok((data, digest)),
        }
    }

    /// Asks which manifest or index a tag stands for, without fetching it; `None` if the registry does
    /// not say.
    pub(crate) async fn digest(&self, reference: &str) -> Result<Option<Digest>> {
        let path = format!("manifests/{reference}");
        let accept = MEDIA_TYPES.join(", ");
        let response = self
            .exchange(Method::HEAD, Target::Repository(&path), |request| {
                request.header(ACCEPT, accept.as_str())
            })
            .await?;
        Ok(if response.status().is_success() { told_digest(&response) } else { None })
    }

    /// Fetches a small blob whole, and checks it.
    pub(crate) async fn document(&self, blob: &Blob) -> Result<Vec<u8>> {
        if blob.size > MAX_DOCUMENT {
            return Err(Error::new(Kind::Invalid, format!("blob {} is too large", blob.digest)));
        }
        let response = self.get(&format!("blobs/{}", blob.digest), |request| request).await?;
        let data = self.body(response).await?;
        let digest = digest_of(&data);
        if data.len() as u64 != blob.size || digest != blob.digest {
            return Err(Error::new(
                Kind::Invalid,
                format!("blob {} is damaged: its digest is {digest}", blob.digest),
            ));
        }
        Ok(data)
    }

    /// Begins to fetch a blob from an offset on.
    async fn blob(&self, digest: &Digest, offset: u64) -> Result<Response> {
        self.get(&format!("blobs/{digest}"), |request| match offset {
            0 => request,
            offset => request.header(RANGE, format!("bytes={offset}-")),
        })
        .await
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| failure::broken(&self.endpoint.host, &error))?
        {
            data.extend_from_slice(&chunk);
            if data.len() as u64 > MAX_DOCUMENT {
                return Err(Error::new(Kind::Invalid, "the registry's answer is too large"));
            }
        }
        Ok(data)
    }

    /// Asks for something below the repository.
    async fn get(
        &self,
        path: &str,
        prepare: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        self.request(Method::GET, Target::Repository(path), prepare).await
    }

    /// Sends a request that must succeed.
    async fn request(
        &self,
        method: Method,
        target: Target<'_>,
        prepare: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        let response = self.exchange(method, target, prepare).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let logged_in = self.credentials.is_some();
        Err(failure::refused(&self.endpoint.host, response, logged_in).await)
    }

    /// Sends a request and returns the answer, also a refusal; proves who we are if that is wanted, and
    /// tries again what may go better the next time. `prepare` makes the request anew each time.
    async fn exchange(
        &self,
        method: Method,
        target: Target<'_>,
        prepare: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response> {
        let mut attempt = 1;
        let mut proven = false;
        loop {
            let used = self.authorization.read().await.clone();
            let response = match self.send(&method, target, &prepare, &used).await {
                Err(error) if attempt < self.attempts && failure::may_pass(&error) => {
                    sleep(self.pause(attempt)).await;
                    attempt += 1;
                    continue;
                }
                Err(error) => return Err(failure::unreachable(&self.endpoint.host, &error)),
                Ok(response) => response,
            };
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && !proven {
                proven = true;
                if self.prove(&response, &used).await? {
                    continue;
                }
            }
            let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            if passes && attempt < self.attempts {
                let said = response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok()?.parse().ok())
                    .map(Duration::from_secs);
                // A long wait is the user's decision.
                if said.is_none_or(|wait| wait <= MAX_WAIT) {
                    sleep(said.unwrap_or_else(|| self.pause(attempt + 1))).await;
                    attempt += 1;
                    continue;
                }
            }
            return Ok(response);
        }
    }

    /// Returns how long to wait after so many failures.
    fn pause(&self, failures: u32) -> Duration {
        let grown = Duration::from_millis(100 << failures.min(16));
        self.delay.unwrap_or(grown.min(MAX_WAIT))
    }

    /// Sends a request once, to the first address of the API that answers.
    async fn send(
        &self,
        method: &Method,
        target: Target<'_>,
        prepare: &impl Fn(RequestBuilder) -> RequestBuilder,
        authorization: &Authorization,
    ) -> reqwest::Result<Response> {
        let known = self.base.read().await.clone();
        let schemes: &[&str] = match (&known, self.endpoint.plain) {
            (Some(_), _) => &[""],
            (None, true) => &["https", "http"],
            (None, false) => &["https"],
        };
        let mut first_failure = None;
        for scheme in schemes {
            let base = match &known {
                Some(base) => base.to_string(),
                None => format!("{scheme}://{}/", self.endpoint.host),
            };
            let (url, trusted) = match target {
                Target::Host(path) => (format!("{base}{path}"), false),
                Target::Api(path) => (format!("{base}v2/{path}"), true),
                Target::Repository(path) => (format!("{base}v2/{}/{path}", self.path), true),
                Target::Url(url) => (
                    url.to_string(),
                    known.as_ref().is_some_and(|base| base.origin() == url.origin()),
                ),
            };
            let client = match &self.patient {
                Some(patient) if matches!(*method, Method::PATCH | Method::PUT) => patient,
                _ => &self.client,
            };
            let mut request = prepare(client.request(method.clone(), url));
            match authorization {
                Authorization::Basic if trusted => {
                    if let Some(Credentials::Password(user, password)) = &self.credentials {
                        request = request.basic_auth(user, Some(password));
                    }
                }
                Authorization::Bearer(token) if trusted => request = request.bearer_auth(token),
                _ => {}
            }
            match request.send().await {
                Ok(response) => {
                    if known.is_none()
                        && let Ok(base) = Url::parse(&base)
                    {
                        *self.base.write().await = Some(base);
                    }
                    return Ok(response);
                }
                // Not even a connection, or one without TLS: the next way may work.
                Err(error) if error.is_connect() || error.is_request() => {
                    first_failure.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match first_failure {
            Some(error) => Err(error),
            // There is always at least one scheme.
            None => self.client.get(&self.endpoint.host).send().await,
        }
    }
}

/// Makes what the network side runs on; it ends with the command.
pub(crate) fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context(|| "cannot set up the network")
}

/// Returns the digest that an answer says its manifest has.
fn told_digest(response: &Response) -> Option<Digest> {
    response.headers().get("docker-content-digest")?.to_str().ok()?.parse().ok()
}
