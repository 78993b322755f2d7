//! How users want registries to be talked to.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;

/// Who can be asked for the credentials of a registry, by its host and port: user name and password, or no
/// user name and a token.
pub type LoginSource = Arc<dyn Fn(&str) -> Result<Option<(String, String)>> + Send + Sync>;

/// How to talk to a registry.
#[derive(Clone, Default)]
pub struct RegistryOptions {
    /// Whether its certificate must be good; if nothing is said, unless it is on this machine or
    /// configured to be insecure.
    pub tls_verify: Option<bool>,
    /// User name and password; those that `login` left otherwise.
    pub credentials: Option<(String, String)>,
    /// Credentials of several registries, in the format of such a file; those of a registry that is not
    /// in it are looked for as usual.
    pub logins: Option<Vec<u8>>,
    /// Who is asked for credentials that are not known by now, before they are looked for as usual.
    pub login_source: Option<LoginSource>,
    /// File with credentials, instead of the usual ones.
    pub authfile: Option<PathBuf>,
    /// Directory with certificates for it, instead of the usual ones.
    pub cert_dir: Option<PathBuf>,
    /// How often to try again what failed and may go better the next time; three times if nothing is
    /// said.
    pub retry: Option<u32>,
    /// Time between two tries; it grows if nothing is said.
    pub retry_delay: Option<Duration>,
    /// File with the demands on signatures, instead of the usual one.
    pub signature_policy: Option<PathBuf>,
}

impl fmt::Debug for RegistryOptions {
    /// Leaves passwords out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryOptions")
            .field("tls_verify", &self.tls_verify)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("logins", &self.logins.is_some())
            .field("login_source", &self.login_source.is_some())
            .field("authfile", &self.authfile)
            .field("cert_dir", &self.cert_dir)
            .field("retry", &self.retry)
            .field("retry_delay", &self.retry_delay)
            .field("signature_policy", &self.signature_policy)
            .finish()
    }
}
