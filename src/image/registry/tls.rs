//! Whom we trust: the system's certificate authorities, and those given for one registry.
//!
//! Own roots instead of a platform verifier: a machine without any certificates must still reach a
//! registry without TLS, and the directories of Docker and Podman count.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Context, Error, Kind, Result};

/// Makes the TLS settings for a registry; `cert_dir` takes the place of the usual directories.
///
/// Without a name of a registry only the system's authorities count.
pub(super) fn config(
    registry: &str,
    verify: bool,
    cert_dir: Option<&Path>,
) -> Result<ClientConfig> {
    let mut identity = None;
    let mut roots = RootCertStore::empty();
    let dirs = match cert_dir {
        Some(dir) => vec![dir.to_owned()],
        None if registry.is_empty() => Vec::new(),
        None => certificate_dirs(registry),
    };
    for dir in dirs {
        for (name, path) in entries(&dir)? {
            if name.ends_with(".crt") {
                for certificate in certificates(&path)? {
                    roots.add(certificate).map_err(|error| {
                        Error::new(Kind::Invalid, format!("cannot use {}", path.display()))
                            .caused_by(error)
                    })?;
                }
            } else if name.ends_with(".cert") {
                let key = path.with_extension("key");
                if !key.exists() {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!(
                            "missing key {} for client certificate {}",
                            key.display(),
                            path.display()
                        ),
                    )
                    .hint("certificates of authorities have the extension .crt"));
                }
                identity = Some((certificates(&path)?, private_key(&key)?));
            }
        }
    }
    if verify {
        trust_system(&mut roots);
    }
    let mut config = settle(roots, verify, identity)
        .context(|| format!("cannot set up TLS for `{registry}`"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A chain of certificates, our own first, and the key of that.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Trusts the system's authorities. Single certificates that are damaged do not spoil the others.
pub(crate) fn trust_system(roots: &mut RootCertStore) {
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
}

/// Makes TLS settings of those whom we trust, and of who we are.
pub(crate) fn settle(
    roots: RootCertStore,
    verify: bool,
    identity: Option<Identity>,
) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Internal, "cannot set up TLS").caused_by(error))?;
    let builder = if verify {
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    };
    match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            Error::new(Kind::Invalid, "cannot use the client certificate").caused_by(error)
        }),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Returns where certificates for a registry may be.
fn certificate_dirs(registry: &str) -> Vec<PathBuf> {
    let mut bases =
        vec![PathBuf::from("/etc/containers/certs.d"), PathBuf::from("/etc/docker/certs.d")];
    if let Some(home) = std::env::var_os("HOME") {
        bases.push(Path::new(&home).join(".config/containers/certs.d"));
        bases.push(Path::new(&home).join(".config/docker/certs.d"));
    }
    bases.into_iter().map(|base| base.join(registry)).collect()
}

/// Lists a directory by name; a missing one is empty, and so is one that is not ours to read.
fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let context = || format!("cannot list {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).context(context),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.context(context)?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    found.sort();
    Ok(found)
}

/// Reads the certificates of a file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let data = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
    CertificateDer::pem_slice_iter(&data).collect::<std::result::Result<_, _>>().map_err(|error| {
        Error::new(Kind::Invalid, format!("cannot use {}", path.display())).caused_by(error)
    })
}

/// Reads the key of a file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        Error::new(Kind::Invalid, format!("cannot use {}", path.display())).caused_by(error)
    })
}

/// Believes everyone, as the user asked for. Signatures are still checked, so that what is encrypted
/// is encrypted for whoever it is.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
