//! `login` and `logout`: what proves who we are is tried at the registry before it is kept.

use std::path::PathBuf;

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, Response};

use super::challenge::{self, Challenge};
use super::credentials::{self, AuthFile, Credentials, Key};
use super::{Authorization, RegistryOptions, Repository, Target, failure, runtime};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::reference::{DEFAULT_REGISTRY, Reference};
use crate::store::registries;

/// Which file keeps the credentials; the usual one if nothing is said.
#[derive(Clone, Debug, Default)]
pub struct CredentialFiles {
    /// One in Podman's format.
    pub authfile: Option<PathBuf>,
    /// One in Docker's format.
    pub compat: Option<PathBuf>,
}

/// Who logs in, and where.
pub struct LoginOptions {
    /// The registry, or a part of it; the first in which short names are searched if nothing is said.
    pub registry: Option<String>,
    /// The user; asked for if nothing is said.
    pub user: Option<String>,
    /// The password; asked for if nothing is said.
    pub password: Option<String>,
    /// Where it is kept.
    pub files: CredentialFiles,
    /// How to talk to the registry; credentials and file in it do not count.
    pub connection: RegistryOptions,
}

/// The user's side of a login.
pub trait LoginDialog {
    /// Hears that credentials from an earlier login are tried.
    fn trying_known(&mut self, registry: &str) -> Result<()>;
    /// Hears that they are not good any more.
    fn known_are_bad(&mut self) -> Result<()>;
    /// Asks for the user; nothing stands for the one that is known.
    fn user(&mut self, known: Option<&str>) -> Result<String>;
    /// Asks for the password.
    fn password(&mut self) -> Result<String>;
}

/// How a login ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The credentials from an earlier login for this registry are still good.
    Already(String),
    /// New credentials are good and kept there.
    Kept(String),
}

/// How a logout ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logout {
    /// The credentials under this name are forgotten.
    Removed(String),
    /// There were none in our file, but another tool's has some.
    KnownElsewhere(String),
}

/// Logs in to a registry.
pub fn login(options: &LoginOptions, dialog: &mut dyn LoginDialog) -> Result<Login> {
    let key = key(options.registry.as_deref())?;
    let file = choose(&options.files)?;
    let known = file.find(&key).context(|| "cannot get the credentials that are known")?;
    let LoginOptions { user, password, connection, .. } = options;
    if user.is_none()
        && password.is_none()
        && let Some(known @ Credentials::Password(..)) = &known
    {
        dialog.trying_known(key.as_str())?;
        match verify(&key, known.clone(), connection) {
            Ok(_) => return Ok(Login::Already(key.registry().to_owned())),
            Err(error) if error.kind() == Kind::Unauthorized => dialog.known_are_bad()?,
            Err(error) => return Err(error),
        }
    }
    let user = match user {
        Some(user) => user.clone(),
        None => {
            let known = known.as_ref().map(Credentials::user).filter(|user| !user.is_empty());
            let user = dialog.user(known)?;
            match user.trim() {
                "" => known.unwrap_or_default().to_owned(),
                user => user.to_owned(),
            }
        }
    };
    if user.is_empty() || user.contains(':') {
        return Err(Error::new(Kind::Invalid, "a user name must not be empty or have a colon"));
    }
    let password = match password {
        Some(password) => password.clone(),
        None => dialog.password()?,
    };
    if password.is_empty() {
        return Err(Error::new(Kind::Invalid, "a password must not be empty"));
    }
    let good = verify(&key, Credentials::Password(user, password), connection)?;
    file.store(&key, &good).map(Login::Kept)
}

/// Tries credentials at a registry, and keeps nothing. Returns the lasting token that it gives for them,
/// if it does.
pub fn check_login(
    registry: &str,
    (user, password): (&str, &str),
    connection: &RegistryOptions,
) -> Result<Option<String>> {
    let credentials = Credentials::Password(user.to_owned(), password.to_owned());
    Ok(match verify(&key(Some(registry))?, credentials, connection)? {
        Credentials::Identity(_, token) => Some(token),
        Credentials::Password(..) => None,
    })
}

/// Returns who we are to the registry of an image: user, secret, and whether that is a token, not a password.
pub fn logged_in(
    reference: &Reference,
    options: &RegistryOptions,
) -> Result<Option<(String, String, bool)>> {
    Ok(credentials::find(reference, options)?.map(|found| match found {
        Credentials::Password(user, password) => (user, password, false),
        Credentials::Identity(user, token) => (user, token, true),
    }))
}

/// Returns the user that is logged in to a registry.
pub fn logged_in_as(registry: Option<&str>, files: &CredentialFiles) -> Result<String> {
    let key = key(registry)?;
    let known = choose(files)?.find(&key)?;
    match known.as_ref().map(Credentials::user).filter(|user| !user.is_empty()) {
        Some(user) => Ok(user.to_owned()),
        None => Err(not_logged_in(&key)),
    }
}

/// Forgets the credentials for a registry.
pub fn logout(registry: Option<&str>, files: &CredentialFiles) -> Result<Logout> {
    let key = key(registry)?;
    let file = choose(files)?.must_exist()?;
    let context = || format!("logging out of \"{key}\"");
    if file.remove(&key).context(context)? {
        return Ok(Logout::Removed(key.as_str().to_owned()));
    }
    match file.find(&key).context(context)? {
        Some(_) => Ok(Logout::KnownElsewhere(key.as_str().to_owned())),
        None => Err(not_logged_in(&key)),
    }
}

/// Forgets the credentials for all registries.
pub fn logout_all(files: &CredentialFiles) -> Result<()> {
    choose(files)?.must_exist()?.remove_all()
}

fn key(registry: Option<&str>) -> Result<Key> {
    match registry {
        Some(registry) => registry.parse(),
        // The first in which names without a registry are searched.
        None => match registries::read()?.search().and_then(<[String]>::first) {
            Some(registry) => registry.parse(),
            None => DEFAULT_REGISTRY.parse(),
        },
    }
}

fn choose(files: &CredentialFiles) -> Result<AuthFile> {
    AuthFile::choose(files.authfile.as_deref(), files.compat.as_deref())
}

fn not_logged_in(key: &Key) -> Error {
    Error::new(Kind::Unauthorized, format!("not logged into {key}"))
}

/// Tries credentials, and returns what is to be kept: a token for them if the registry gives one.
fn verify(key: &Key, credentials: Credentials, options: &RegistryOptions) -> Result<Credentials> {
    let repository = Repository::of_registry(key.registry(), Some(credentials.clone()), options)?;
    let refresh = runtime()?.block_on(repository.introduce()).map_err(|error| {
        if error.kind() == Kind::Unauthorized {
            let message = format!("logging into \"{key}\": invalid username/password");
            return Error::new(Kind::Unauthorized, message);
        }
        error.within(format!("authenticating creds for \"{key}\""))
    })?;
    Ok(match refresh {
        Some(token) => Credentials::Identity(credentials.user().to_owned(), token),
        None => credentials,
    })
}

impl Repository {
    /// Shows the registry who we are; fails if it does not believe it. Returns the lasting token that
    /// its token server gives, if it does.
    async fn introduce(&self) -> Result<Option<String>> {
        let root = Target::Api("");
        let plain = |request| request;
        let response = self.send(&Method::GET, root, &plain, &Authorization::None).await;
        let response =
            response.map_err(|error| failure::unreachable(&self.endpoint.host, &error))?;
        let mut refresh = None;
        if let Some(Challenge::Bearer { realm, service, scope }) = bearer(&response) {
            let token = self.token(&realm, service.as_deref(), scope.as_deref(), true).await?;
            *self.authorization.write().await = Authorization::Bearer(token.text);
            refresh = token.refresh;
        }
        // This also does what a registry without tokens wants.
        self.request(Method::GET, root, plain).await?;
        Ok(refresh)
    }
}

fn bearer(response: &Response) -> Option<Challenge> {
    let headers = response.headers().get_all(WWW_AUTHENTICATE);
    headers
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(challenge::parse)
        .find(|challenge| matches!(challenge, Challenge::Bearer { .. }))
}
