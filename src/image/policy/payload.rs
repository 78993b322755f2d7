//! What is signed: which manifest, under which name. The same document for both kinds of signature.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;

/// A kind of signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PayloadKind {
    /// OpenPGP.
    #[serde(rename = "atomic container signature")]
    Simple,
    /// cosign's.
    #[serde(rename = "cosign container image signature")]
    Sigstore,
}

/// What a signature says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// Digest of the manifest.
    pub(super) digest: Digest,
    /// Name of the image.
    pub(super) name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    critical: Critical,
    // What is not critical may be anything, but it must be there.
    #[serde(rename = "optional", deserialize_with = "Option::deserialize")]
    _optional: Option<Map<String, Value>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: PayloadKind,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: Digest,
}

impl Payload {
    /// Reads what was signed. It must be exactly such a document: what we do not know may matter.
    pub(super) fn parse(kind: PayloadKind, data: &[u8]) -> Result<Self> {
        let document: Document =
            serde_json::from_slice(data).context(|| "the signature is not about an image")?;
        let Critical { identity, image, r#type } = document.critical;
        if r#type != kind {
            return Err(Error::new(Kind::Invalid, "the signature is of another kind"));
        }
        Ok(Self { digest: image.docker_manifest_digest, name: identity.docker_reference })
    }

    /// Writes what is to be signed. `now` is in seconds since 1970.
    pub(super) fn to_bytes(&self, kind: PayloadKind, now: u64) -> Result<Vec<u8>> {
        let critical = Critical {
            identity: Identity { docker_reference: self.name.clone() },
            image: Image { docker_manifest_digest: self.digest.clone() },
            r#type: kind,
        };
        let creator = concat!("barge ", env!("CARGO_PKG_VERSION"));
        let optional = json!({ "creator": creator, "timestamp": now });
        serde_json::to_vec(&json!({ "critical": critical, "optional": optional }))
            .context(|| "cannot write what is to be signed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let digest = Digest::from_hex(&"0123456789abcdef".repeat(4)).unwrap();
        let payload = Payload { digest, name: "quay.io/a:1".to_owned() };
        for (kind, other) in [
            (PayloadKind::Simple, PayloadKind::Sigstore),
            (PayloadKind::Sigstore, PayloadKind::Simple),
        ] {
            let bytes = payload.to_bytes(kind, 1).unwrap();
            assert_eq!(Payload::parse(kind, &bytes).unwrap(), payload);
            assert!(Payload::parse(other, &bytes).is_err());
        }
    }

    #[test]
    fn is_strict() {
        let hex = "0123456789abcdef".repeat(4);
        let good = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"a"}},"image":{{"docker-manifest-digest":"sha256:{hex}"}},"type":"cosign container image signature"}},"optional":null}}"#
        );
        let parse = |text: &str| Payload::parse(PayloadKind::Sigstore, text.as_bytes());
        assert!(parse(&good).is_ok());
        for (from, to, want) in [
            ("null", "{}", true),
            ("null", r#"{"anything":[1]}"#, true),
            ("null", "[]", false),
            (r#","optional":null"#, "", false),
            (r#","optional":null"#, r#","optional":null,"more":1"#, false),
            (r#""type""#, r#""more":1,"type""#, false),
            (r#"{"docker-reference":"a"}"#, r#"{"docker-reference":"a","x":1}"#, false),
            (
                r#"{"docker-reference":"a"}"#,
                r#"{"docker-reference":"a","docker-reference":"a"}"#,
                false,
            ),
            (r#"{"docker-reference":"a"}"#, r#"{}"#, false),
            ("sha256:0", "sha256:", false),
            ("sha256:", "md5:", false),
            ("cosign container", "Cosign container", false),
            (r#"{"critical""#, r#"{"critical":{},"critical""#, false),
        ] {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good);
            assert_eq!(parse(&text).is_ok(), want, "{text}");
        }
        assert!(parse(&format!("{good}{good}")).is_err());
    }
}
