//! Signatures as they lie beside images: nothing here is trusted yet.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::ImageManifest;
use reqwest::Url;
use serde::Deserialize;

use super::places::Places;
use crate::error::{Context, Error, Kind, Result};
use crate::image::manifest::Blob;
use crate::image::registry::Repository;
use crate::spec::digest::Digest;
use crate::spec::reference::Reference;

/// The type of what cosign signs, as a layer.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature of such a layer.
pub(super) const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// More signatures of one image are not looked at.
const MAX_SIGNATURES: usize = 128;
/// A signature is not longer.
const MAX_SIZE: u64 = 4 << 20;
/// How files begin that hold other signatures than OpenPGP's, up to the end of the line.
const JSON_MARK: &[u8] = b"\0sigstore-json\n";

/// A signature of an image.
#[derive(Debug)]
pub(super) enum Signature {
    /// A message in OpenPGP's format.
    Simple(Vec<u8>),
    /// A payload, and its signature in base 64.
    Sigstore(Vec<u8>, String),
}

/// A signature of cosign's kind in a file.
#[derive(Deserialize)]
struct JsonSignature {
    #[serde(rename = "mimeType")]
    media_type: String,
    payload: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Signature {
    /// Reads one from a file. `None` if it is of a kind that we do not know.
    fn of_file(data: Vec<u8>) -> Result<Option<Self>> {
        if let Some(text) = data.strip_prefix(JSON_MARK) {
            let one: JsonSignature =
                serde_json::from_slice(text).context(|| "a signature is damaged")?;
            let payload = STANDARD
                .decode(one.payload)
                .map_err(|_| Error::new(Kind::Invalid, "a signature is damaged"))?;
            return Ok(Self::of_layer(&one.media_type, &one.annotations, payload));
        }
        Ok(data.first().is_some_and(|byte| byte & 0x80 != 0).then_some(Self::Simple(data)))
    }

    fn of_layer(
        media_type: &str,
        annotations: &BTreeMap<String, String>,
        payload: Vec<u8>,
    ) -> Option<Self> {
        let signature = annotations.get(SIGNATURE_ANNOTATION)?;
        (media_type == PAYLOAD_TYPE).then(|| Self::Sigstore(payload, signature.clone()))
    }
}

/// Returns the address of an image's signature with a number from 1 on.
pub(super) fn address(base: &Url, digest: &Digest, number: usize) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}@sha256={}/signature-{number}", base.path(), digest.hex()));
    url
}

/// Fetches the signatures of an image of a registry, from where the configuration says they are.
pub(super) async fn of_repository(
    repository: &Repository,
    at: &Reference,
    digest: &Digest,
) -> Result<Vec<Signature>> {
    let places = Places::load()?;
    let base = places.lookaside(at)?;
    let mut found = Vec::new();
    for number in 1..=MAX_SIGNATURES {
        let url = address(&base, digest, number);
        let data = match url.to_file_path() {
            Ok(path) if url.scheme() == "file" => read(&path)?,
            _ => repository.elsewhere(&url, MAX_SIZE).await?,
        };
        let Some(data) = data else { break };
        found.extend(Signature::of_file(data).context(|| format!("cannot use {url}"))?);
    }
    if places.has_attachments(at) {
        found.extend(attachments(repository, digest).await?);
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let context = || format!("cannot read {}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.context(context)?,
    };
    let mut data = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut data).context(context)?;
    if data.len() as u64 > MAX_SIZE {
        return Err(Error::new(Kind::Invalid, "it is too large")).context(context);
    }
    Ok(Some(data))
}

/// The tag under which cosign puts the signatures of an image.
pub(super) fn tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// Fetches the image that consists of signatures of another; `None` if there is none.
pub(super) async fn attached(
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<ImageManifest>> {
    let context = || "cannot get the signatures in the registry";
    let data = match repository.manifest(&tag(digest)).await {
        Ok((data, _)) => data,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(context),
    };
    serde_json::from_slice(&data).map(Some).context(context)
}

async fn attachments(repository: &Repository, digest: &Digest) -> Result<Vec<Signature>> {
    let Some(manifest) = attached(repository, digest).await? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for layer in manifest.layers().iter().take(MAX_SIGNATURES) {
        let annotations = layer.annotations().iter().flatten();
        let annotations = annotations.map(|(name, text)| (name.clone(), text.clone())).collect();
        let media_type = layer.media_type().to_string();
        if media_type != PAYLOAD_TYPE || layer.size() > MAX_SIZE {
            continue;
        }
        let payload = repository.document(&Blob::of(layer)?).await?;
        found.extend(Signature::of_layer(&media_type, &annotations, payload));
    }
    Ok(found)
}

/// Puts a signature behind those that an image has in a directory.
pub(super) fn put(base: &Url, digest: &Digest, signature: &[u8]) -> Result<()> {
    let first = address(base, digest, 1);
    let dir = match first.to_file_path() {
        Ok(path) if first.scheme() == "file" => path.parent().map(Path::to_owned),
        _ => None,
    };
    let Some(dir) = dir else {
        return Err(Error::new(Kind::Unsupported, format!("cannot put signatures to {base}"))
            .hint(
                "name a directory in registries.d, as in lookaside-staging: file:///srv/signatures",
            ));
    };
    let context = || format!("cannot put a signature into {}", dir.display());
    fs::create_dir_all(&dir).context(context)?;
    for number in 1..=MAX_SIGNATURES {
        let path = dir.join(format!("signature-{number}"));
        match File::options().write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            file => {
                let written = std::io::Write::write_all(&mut file.context(context)?, signature);
                // Half a signature would only be in the way.
                return written.inspect_err(|_| drop(fs::remove_file(&path))).context(context);
            }
        }
    }
    Err(Error::new(Kind::Conflict, "the image has too many signatures")).context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_signatures_from_other_files() {
        let annotations = format!(r#"{{"{SIGNATURE_ANNOTATION}":"c2ln"}}"#);
        let json = |kind: &str, payload: &str, annotations: &str| {
            let text = format!(
                r#"{{"mimeType":"{kind}","payload":"{payload}","annotations":{annotations}}}"#
            );
            [JSON_MARK, text.as_bytes()].concat()
        };
        for (data, want) in [
            (b"\xa3x".to_vec(), Ok("simple")),
            (json(PAYLOAD_TYPE, "e30=", &annotations), Ok("sigstore")),
            (json("text/plain", "e30=", &annotations), Ok("none")),
            (json(PAYLOAD_TYPE, "e30=", "{}"), Ok("none")),
            (json(PAYLOAD_TYPE, "!", &annotations), Err(())),
            (b"\0sigstore-json\n".to_vec(), Err(())),
            (b"\0later\nx".to_vec(), Ok("none")),
            (b"-----BEGIN PGP".to_vec(), Ok("none")),
            (Vec::new(), Ok("none")),
        ] {
            let got = Signature::of_file(data.clone()).map_err(drop).map(|found| match found {
                Some(Signature::Simple(_)) => "simple",
                Some(Signature::Sigstore(payload, _)) if payload == b"{}" => "sigstore",
                Some(Signature::Sigstore(..)) => "wrong",
                None => "none",
            });
            assert_eq!(got, want, "{data:?}");
        }
    }

    #[test]
    fn puts_signatures_behind_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let base = Url::parse(&format!("file://{}/team/app", dir.path().display())).unwrap();
        let digest = Digest::from_hex(&"0123456789abcdef".repeat(4)).unwrap();
        put(&base, &digest, b"\x80a").unwrap();
        put(&base, &digest, b"\x80b").unwrap();
        let place = dir.path().join(format!("team/app@sha256={}", digest.hex()));
        assert_eq!(fs::read(place.join("signature-1")).unwrap(), b"\x80a");
        assert_eq!(fs::read(place.join("signature-2")).unwrap(), b"\x80b");
        let url = Url::parse("https://x.example/s").unwrap();
        assert_eq!(put(&url, &digest, b"").unwrap_err().kind(), Kind::Unsupported);
    }
}
