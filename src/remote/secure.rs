//! TLS towards another host: whom we believe, and who we are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use tokio_rustls::TlsConnector;

use crate::error::{Error, Kind, Result};
use crate::image::registry::tls;

/// How TLS is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsAsked {
    /// Whether it is asked for at all, by something else than the address.
    pub wanted: bool,
    /// Whether the other side must prove who it is; that is so if nothing is said.
    pub verify: Option<bool>,
    /// The authority that certifies the other side, in PEM.
    pub authority: Option<PathBuf>,
    /// Our certificate, in PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
}

impl TlsAsked {
    /// Takes the files that Docker's client looks for in a directory; those that are not there are not
    /// needed, unless the directory was named.
    pub(super) fn take_directory(&mut self, directory: &Path, named: bool) {
        for (file, name) in [
            (&mut self.authority, "ca.pem"),
            (&mut self.certificate, "cert.pem"),
            (&mut self.key, "key.pem"),
        ] {
            let path = directory.join(name);
            if file.is_none() && (named || path.exists()) {
                *file = Some(path);
            }
        }
    }

    /// Makes what greets the other side.
    pub(super) fn connector(&self) -> Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        match &self.authority {
            // Who names one means no other.
            Some(path) => {
                for certificate in tls::certificates(path)? {
                    roots.add(certificate).map_err(|error| {
                        Error::new(Kind::Invalid, format!("cannot use {}", path.display()))
                            .caused_by(error)
                    })?;
                }
            }
            None => tls::trust_system(&mut roots),
        }
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                Some((tls::certificates(certificate)?, tls::private_key(key)?))
            }
            (None, None) => None,
            _ => {
                return Err(Error::new(Kind::Invalid, "a certificate and its key go together")
                    .hint("say both --tlscert and --tlskey, or neither"));
            }
        };
        let config = tls::settle(roots, self.verify != Some(false), identity)?;
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
