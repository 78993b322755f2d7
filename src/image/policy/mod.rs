//! Whom the user trusts: `policy.json` says which images may come here, and who must have signed them.
//!
//! ```text
//! policy.json ── scope ──> requirements ──┐
//! registries.d ── places ──> signatures ──┴─> accepted, or an error that says why not
//! ```
//!
//! What cannot be checked is refused: a file with unknown words, a kind of signature that we do not
//! know, a program that is missing. Only if there is no `policy.json` at all everything is accepted.

mod document;
mod gpg;
mod identity;
mod key;
mod payload;
mod places;
mod private_key;
mod scope;
mod sign;
mod source;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use document::{Document, Requirement, SignedBy, SigstoreSigned};
use key::PublicKey;
use payload::{Payload, PayloadKind};
pub(crate) use sign::Signer;
pub use sign::SigningOptions;
use source::Signature;

use super::registry::Repository;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::blob::digest_of;

/// What the user demands of images.
#[derive(Debug)]
pub(crate) struct Policy(Option<(PathBuf, Document)>);

/// An image of a registry that is about to come here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// What was asked for.
    pub(crate) name: &'a Reference,
    /// Where it comes from: the same, or a mirror.
    pub(crate) at: &'a Reference,
    /// Its manifest, for one platform.
    pub(crate) manifest: &'a [u8],
}

/// An image of this machine that is about to be taken in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LocalSource<'a> {
    /// An archive as of `docker save`.
    DockerArchive,
    /// An archive in OCI layout; `None` if it comes through a pipe.
    OciArchive(Option<&'a Path>),
    /// A directory in OCI layout.
    OciDirectory(&'a Path),
    /// A directory with the files of one image.
    Directory(&'a Path),
    /// A root file system.
    Tarball,
}

/// What a signature is compared with.
struct Subject<'a> {
    store: &'a Store,
    name: Option<&'a Reference>,
    digest: Digest,
}

impl Policy {
    /// Reads the policy: this file, or the user's, or the system's.
    pub(crate) fn load(explicit: Option<&Path>) -> Result<Self> {
        let usual = || {
            let own = places::home().map(|home| home.join(".config/containers/policy.json"));
            let system = PathBuf::from("/etc/containers/policy.json");
            own.into_iter().chain([system]).find(|path| path.exists())
        };
        let Some(path) = explicit.map(Path::to_owned).or_else(usual) else {
            return Ok(Self(None));
        };
        let context = || format!("cannot use the signature policy {}", path.display());
        let data = std::fs::read(&path).context(context)?;
        let document = Document::parse(&data).context(context)?;
        Ok(Self(Some((path, document))))
    }

    /// Checks an image of a registry before anything of it but its manifest is fetched.
    pub(crate) async fn check(
        &self,
        store: &Store,
        image: Candidate<'_>,
        repository: &Repository,
    ) -> Result<()> {
        let scopes = scope::of_reference(image.name);
        let Some((scope, requirements)) = self.requirements("docker", scopes) else {
            return Ok(());
        };
        let subject = Subject { store, name: Some(image.name), digest: digest_of(image.manifest) };
        let checked = async {
            let mut signatures = Vec::new();
            if requirements.iter().any(wants_signatures) {
                let found = source::of_repository(repository, image.at, &subject.digest).await;
                signatures = found.context(|| "cannot look for signatures")?;
            }
            subject.meets_all(requirements, &signatures)
        };
        checked.await.map_err(|error| self.refusal(error, &scope))
    }

    /// Tells whether an image of a registry is accepted whoever has signed it.
    pub(crate) fn accepts_all(&self, name: &Reference) -> bool {
        let requirements = self.requirements("docker", scope::of_reference(name));
        requirements.is_none_or(|(_, requirements)| {
            let accepts = |one: &Requirement| matches!(one, Requirement::InsecureAcceptAnything {});
            requirements.iter().all(accepts)
        })
    }

    /// Checks images of this machine; no signatures come with them.
    pub(crate) fn check_local(&self, store: &Store, source: LocalSource<'_>) -> Result<()> {
        let (transport, path) = match source {
            LocalSource::DockerArchive => ("docker-archive", None),
            LocalSource::OciArchive(path) => ("oci-archive", path),
            LocalSource::OciDirectory(path) => ("oci", Some(path)),
            LocalSource::Directory(path) => ("dir", Some(path)),
            LocalSource::Tarball => ("tarball", None),
        };
        let whole = path.map(std::fs::canonicalize).transpose();
        let path = whole.context(|| "cannot find the image")?;
        let scopes = path.as_deref().map(scope::of_path).unwrap_or_default();
        let Some((scope, requirements)) = self.requirements(transport, scopes) else {
            return Ok(());
        };
        let subject = Subject { store, name: None, digest: digest_of(b"") };
        subject.meets_all(requirements, &[]).map_err(|error| self.refusal(error, &scope))
    }

    /// Returns what must be so, and the scope that says it; `None` if there is no policy.
    fn requirements(
        &self,
        transport: &str,
        mut scopes: Vec<String>,
    ) -> Option<(String, &[Requirement])> {
        let (_, document) = self.0.as_ref()?;
        scopes.push(String::new());
        let of_transport = document.transports.0.get(transport);
        let most_exact = of_transport
            .and_then(|known| scopes.iter().find_map(|scope| known.0.get_key_value(scope)));
        Some(match most_exact {
            Some((scope, found)) => (format!("{transport}:{scope}"), &found.0),
            None => ("default".to_owned(), &document.default.0),
        })
    }

    fn refusal(&self, error: Error, scope: &str) -> Error {
        let kind = match error.kind() {
            Kind::Invalid => Kind::Denied,
            kind => kind,
        };
        let has_hint = error.hint_text().is_some();
        let error = error.kind_is(kind).within("the signature policy rejects the image");
        match &self.0 {
            Some((path, _)) if !has_hint => {
                error.hint(format!("see `{scope}` in {}", path.display()))
            }
            _ => error,
        }
    }
}

fn wants_signatures(requirement: &Requirement) -> bool {
    matches!(requirement, Requirement::SignedBy(_) | Requirement::SigstoreSigned(_))
}

fn denied(message: impl Into<String>) -> Error {
    Error::new(Kind::Denied, message)
}

impl Subject<'_> {
    fn meets_all(&self, requirements: &[Requirement], signatures: &[Signature]) -> Result<()> {
        requirements.iter().try_for_each(|requirement| match requirement {
            Requirement::InsecureAcceptAnything {} => Ok(()),
            Requirement::Reject {} => Err(denied("it rejects all of them")),
            Requirement::SignedBaseLayer { .. } => {
                Err(Error::new(Kind::Unsupported, "signedBaseLayer cannot be checked"))
            }
            Requirement::SignedBy(demand) => self.is_signed_by(demand, signatures),
            Requirement::SigstoreSigned(demand) => self.is_sigstore_signed(demand, signatures),
        })
    }

    fn is_signed_by(&self, demand: &SignedBy, signatures: &[Signature]) -> Result<()> {
        let keys = contents(
            demand.key_path.iter().chain(demand.key_paths.iter().flatten()),
            demand.key_data.iter(),
        )?;
        self.any(signatures, |signature| {
            let Signature::Simple(message) = signature else { return None };
            Some(gpg::verify(self.store, &keys, message).and_then(|signed| {
                let payload = Payload::parse(PayloadKind::Simple, &signed)?;
                self.is_meant(&payload, &demand.signed_identity)
            }))
        })
    }

    fn is_sigstore_signed(&self, demand: &SigstoreSigned, signatures: &[Signature]) -> Result<()> {
        if let Some(name) = demand.beyond_us() {
            return Err(Error::new(
                Kind::Unsupported,
                format!("`{name}` of sigstoreSigned cannot be checked: certificates and transparency logs are not supported"),
            )
            .hint("use keyPath, keyPaths, keyData or keyDatas alone"));
        }
        let texts = contents(
            demand.key_path.iter().chain(demand.key_paths.iter().flatten()),
            demand.key_data.iter().chain(demand.key_datas.iter().flatten()),
        )?;
        // All of them, so that one that is bad is noticed before it is needed.
        let keys: Vec<PublicKey> =
            texts.iter().map(|text| PublicKey::from_pem(text)).collect::<Result<_>>()?;
        self.any(signatures, |signature| {
            let Signature::Sigstore(message, encoded) = signature else { return None };
            let signed = STANDARD
                .decode(encoded)
                .is_ok_and(|bytes| keys.iter().any(|key| key.has_signed(message, &bytes)));
            Some(match signed {
                true => Payload::parse(PayloadKind::Sigstore, message)
                    .and_then(|payload| self.is_meant(&payload, &demand.signed_identity)),
                false => Err(denied("it is not by a key that the policy lists")),
            })
        })
    }

    /// Succeeds if one signature is good. `judge` passes over those of another kind.
    fn any(
        &self,
        signatures: &[Signature],
        judge: impl Fn(&Signature) -> Option<Result<()>>,
    ) -> Result<()> {
        let mut faults = Vec::new();
        for judged in signatures.iter().filter_map(judge) {
            match judged {
                Ok(()) => return Ok(()),
                // Not a matter of this signature: it is not known whether it is good.
                Err(error) if error.kind() == Kind::Unsupported => return Err(error),
                Err(error) => faults.push(error),
            }
        }
        match (faults.len(), faults.pop()) {
            (1, Some(fault)) => {
                Err(fault.kind_is(Kind::Denied).within("its signature is not accepted"))
            }
            (_, None) => Err(denied("a signature was required, but no signature exists")),
            (count, Some(last)) => {
                faults.push(last);
                let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
                Err(denied(format!(
                    "none of its {count} signatures is accepted: {}",
                    texts.join("; ")
                )))
            }
        }
    }

    /// Tells whether what was signed is this image under an accepted name.
    fn is_meant(&self, payload: &Payload, identity: &identity::Identity) -> Result<()> {
        if payload.digest != self.digest {
            return Err(denied(format!(
                "it is for the manifest {}, not {}",
                payload.digest, self.digest
            )));
        }
        if !identity.accepts(self.name, &payload.name) {
            let name = payload.name.replace(char::is_control, " ");
            return Err(denied(format!("it is for the name `{name}`, which is not accepted")));
        }
        Ok(())
    }
}

/// Returns the contents of files and of texts in base 64.
fn contents<'a>(
    paths: impl Iterator<Item = &'a PathBuf>,
    texts: impl Iterator<Item = &'a String>,
) -> Result<Vec<Vec<u8>>> {
    let read = paths.map(|path| {
        std::fs::read(path).context(|| format!("cannot read the key {}", path.display()))
    });
    let decoded = texts.map(|text| {
        STANDARD
            .decode(text)
            .map_err(|_| Error::new(Kind::Invalid, "a key in the policy is not in base 64"))
    });
    read.chain(decoded).collect()
}
