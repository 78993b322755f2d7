//! Signs images that are pushed: as cosign does, into the registry, and with OpenPGP, beside it.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::{Value, json};

use super::gpg;
use super::payload::{Payload, PayloadKind};
use super::places::Places;
use super::private_key::PrivateKey;
use super::source::{self, PAYLOAD_TYPE, SIGNATURE_ANNOTATION};
use crate::error::{Context, Result};
use crate::image::manifest::Blob;
use crate::image::registry::{Content, Repository};
use crate::spec::digest::Digest;
use crate::spec::reference::Reference;
use crate::store::blob::digest_of;

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// With what an image that is pushed is signed; with nothing by default.
#[derive(Clone, Default)]
pub struct SigningOptions {
    /// File with a private key of sigstore.
    pub sigstore_key: Option<PathBuf>,
    /// Fingerprint of a key of the user's OpenPGP keyring.
    pub openpgp_key: Option<String>,
    /// What opens the key.
    pub passphrase: Option<String>,
}

impl fmt::Debug for SigningOptions {
    /// Leaves the passphrase out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningOptions")
            .field("sigstore_key", &self.sigstore_key)
            .field("openpgp_key", &self.openpgp_key)
            .finish()
    }
}

/// Signs images.
pub(crate) struct Signer {
    sigstore: Option<PrivateKey>,
    openpgp: Option<(String, Option<String>)>,
}

impl Signer {
    /// Gets the keys ready.
    pub(crate) fn load(options: &SigningOptions) -> Result<Self> {
        let passphrase = options.passphrase.as_deref();
        let open = |path: &PathBuf| {
            let context = || format!("cannot use the key {}", path.display());
            let text = fs::read_to_string(path).context(context)?;
            PrivateKey::open(&text, passphrase.unwrap_or_default()).context(context)
        };
        let openpgp = options.openpgp_key.clone();
        Ok(Self {
            sigstore: options.sigstore_key.as_ref().map(open).transpose()?,
            openpgp: openpgp.map(|key| (key, passphrase.map(str::to_owned))),
        })
    }

    /// Signs what was pushed under a name: the manifest with this digest.
    pub(crate) async fn sign(
        &self,
        repository: &Repository,
        name: &Reference,
        digest: &Digest,
    ) -> Result<()> {
        let payload = Payload { digest: digest.clone(), name: name.to_string() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some((key, passphrase)) = &self.openpgp {
            let message = payload.to_bytes(PayloadKind::Simple, now)?;
            let signature = gpg::sign(key, passphrase.as_deref(), &message)?;
            source::put(&Places::load()?.staging(name)?, digest, &signature)?;
        }
        if let Some(key) = &self.sigstore {
            let message = payload.to_bytes(PayloadKind::Sigstore, now)?;
            let signature = STANDARD.encode(key.sign(&message)?);
            let context = || "cannot put the signature into the registry";
            attach(repository, digest, &message, &signature).await.context(context)?;
        }
        Ok(())
    }
}

/// Adds a signature to the image in the registry that consists of those for `digest`.
async fn attach(
    repository: &Repository,
    digest: &Digest,
    payload: &[u8],
    signature: &str,
) -> Result<()> {
    let known = source::attached(repository, digest).await?;
    let mut layers: Vec<Value> = match &known {
        Some(manifest) => manifest
            .layers()
            .iter()
            .map(serde_json::to_value)
            .collect::<serde_json::Result<_>>()
            .context(|| "cannot keep the signatures that are there")?,
        None => Vec::new(),
    };
    let mut layer = upload(repository, PAYLOAD_TYPE, payload).await?;
    layer["annotations"] = json!({ SIGNATURE_ANNOTATION: signature });
    layers.push(layer);
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = upload(repository, CONFIG_TYPE, config.to_string().as_bytes()).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config,
        "layers": layers,
    });
    let data = manifest.to_string();
    repository.put_manifest(&source::tag(digest), MANIFEST_TYPE, data.as_bytes()).await?;
    Ok(())
}

/// Uploads a few bytes and returns their descriptor.
async fn upload(repository: &Repository, media_type: &str, data: &[u8]) -> Result<Value> {
    let blob = Blob { digest: digest_of(data), size: data.len() as u64 };
    if !repository.has_blob(&blob.digest).await? {
        let fd = memfd_create("barge-signature", MemfdFlags::CLOEXEC)
            .context(|| "cannot get memory for a signature")?;
        let mut file = File::from(fd);
        file.write_all(data).context(|| "cannot get memory for a signature")?;
        repository.upload_blob(&Content::whole(file, &blob), None, &|_| {}).await?;
    }
    Ok(json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size }))
}
