//! Manifests and indexes, OCI's and Docker's: what an image consists of, or which images there are.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::spec::platform::Platform;

/// All that we read, in the words of `Accept`.
pub(crate) const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// What BuildKit keeps what steps have made in, beside their layers.
const BUILDKIT_CACHE: &str = "application/vnd.buildkit.cacheconfig.v0";

/// The configuration of what has none.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A document that a reference leads to.
#[derive(Debug)]
pub(crate) enum Document {
    /// One image.
    Manifest(Manifest),
    /// The same image for several platforms.
    Index(Box<ImageIndex>),
}

/// What one image consists of.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Its configuration.
    pub(crate) config: Blob,
    /// Its layers, lowest first.
    pub(crate) layers: Vec<Blob>,
    /// Blobs that are not, or not only, in the registry.
    pub(crate) elsewhere: HashMap<Digest, Elsewhere>,
}

/// Where a blob is, if not in the registry.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// In the manifest itself; the bytes may be others than the digest promises.
    pub(crate) data: Option<Vec<u8>>,
    /// At one of these addresses, because registries may not give it away.
    pub(crate) addresses: Vec<String>,
}

/// Digest and size of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    /// Digest of the bytes.
    pub(crate) digest: Digest,
    /// Number of the bytes.
    pub(crate) size: u64,
}

impl Blob {
    /// Reads them from a descriptor.
    pub(crate) fn of(descriptor: &Descriptor) -> Result<Self> {
        Ok(Self { digest: descriptor.digest().to_string().parse()?, size: descriptor.size() })
    }
}

/// What tells the kinds of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<u64>,
    artifact_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

impl Document {
    /// Parses a document; what it is is told by its content.
    pub(crate) fn parse(data: &[u8]) -> Result<Self> {
        let malformed = || "the image's manifest is malformed";
        // Not as a tree of values, which would take many times the memory of the text.
        let head: Head = serde_json::from_slice(data).context(malformed)?;
        if head.schema_version == Some(1) {
            return Err(Error::new(
                Kind::Unsupported,
                "the image has a manifest of schema version 1, which is no longer supported",
            )
            .hint("push it again with a tool that is newer than 2017"));
        }
        // An index has no layers, a manifest no manifests; a document with both means ill.
        match (head.manifests.is_some(), head.layers.is_some()) {
            (true, false) => {
                let index: ImageIndex = serde_json::from_slice(data).context(malformed)?;
                let kinds = index.manifests().iter().map(Descriptor::media_type);
                if kinds.into_iter().any(|kind| kind.to_string() == BUILDKIT_CACHE) {
                    return Err(is_cache());
                }
                Ok(Self::Index(Box::new(index)))
            }
            (false, true) => {
                let manifest: ImageManifest = serde_json::from_slice(data).context(malformed)?;
                Manifest::of(&manifest, head.artifact_type.as_deref()).map(Self::Manifest)
            }
            _ => Err(Error::new(Kind::Invalid, "the image's manifest is malformed")),
        }
    }
}

impl Manifest {
    fn of(manifest: &ImageManifest, artifact: Option<&str>) -> Result<Self> {
        let kind = manifest.config().media_type().to_string();
        if !matches!(
            kind.as_str(),
            "application/vnd.oci.image.config.v1+json"
                | "application/vnd.docker.container.image.v1+json"
                | "application/octet-stream"
        ) {
            if kind == BUILDKIT_CACHE {
                return Err(is_cache());
            }
            // The configuration of an artifact may be empty; then it says itself what it is.
            let kind = match artifact {
                Some(artifact) if kind == EMPTY => artifact,
                _ => &kind,
            };
            return Err(Error::new(
                Kind::Unsupported,
                format!("this is no container image, but an artifact of type `{kind}`"),
            )
            .hint("fetch it with `barge artifact pull`"));
        }
        let mut elsewhere = HashMap::new();
        for descriptor in std::iter::once(manifest.config()).chain(manifest.layers()) {
            if let Some(found) = Elsewhere::of(descriptor)? {
                elsewhere.insert(Blob::of(descriptor)?.digest, found);
            }
        }
        Ok(Self {
            elsewhere,
            config: Blob::of(manifest.config())?,
            layers: manifest.layers().iter().map(Blob::of).collect::<Result<_>>()?,
        })
    }
}

fn is_cache() -> Error {
    Error::new(Kind::Unsupported, "this is no container image, but a build cache of BuildKit")
        .hint("only BuildKit can use it: what it finds steps by are digests of its own form of instructions")
}

impl Elsewhere {
    fn of(descriptor: &Descriptor) -> Result<Option<Self>> {
        let data = match descriptor.data() {
            Some(text) => Some(STANDARD.decode(text).map_err(|error| {
                Error::new(
                    Kind::Invalid,
                    format!(
                        "the data of blob {} in the manifest is malformed",
                        descriptor.digest()
                    ),
                )
                .caused_by(error)
            })?),
            None => None,
        };
        // Whoever may give a layer away does so: what else a manifest says of addresses is no reason
        // to visit them.
        let kind = descriptor.media_type().to_string();
        let is_foreign = kind.contains(".foreign.") || kind.contains(".nondistributable.");
        let addresses = match descriptor.urls() {
            Some(urls) if is_foreign => urls.clone(),
            _ => Vec::new(),
        };
        Ok((data.is_some() || !addresses.is_empty()).then_some(Self { data, addresses }))
    }
}

/// Chooses an image for a platform from an index.
pub(crate) fn choose(index: &ImageIndex, platform: &Platform) -> Result<Blob> {
    let candidates = index.manifests().iter().filter_map(|descriptor| {
        let Some(offer) = descriptor.platform() else {
            // Without a platform it may be anything; better than nothing.
            return Some((u32::MAX, descriptor));
        };
        let variant = offer.variant().as_deref();
        let distance = platform.distance(
            &offer.os().to_string(),
            &offer.architecture().to_string(),
            variant.filter(|variant| !variant.is_empty()),
        )?;
        Some((distance, descriptor))
    });
    match candidates.min_by_key(|(distance, _)| *distance) {
        Some((_, descriptor)) => Blob::of(descriptor),
        None => {
            let mut offers: Vec<String> = index
                .manifests()
                .iter()
                .filter_map(|descriptor| descriptor.platform().as_ref())
                .map(|offer| {
                    let variant = offer.variant().as_deref().filter(|text| !text.is_empty());
                    let variant = variant.map_or(String::new(), |text| format!("/{text}"));
                    format!("{}/{}{variant}", offer.os(), offer.architecture())
                })
                // What builds say about themselves.
                .filter(|offer| offer != "unknown/unknown")
                .collect();
            offers.sort();
            offers.dedup();
            let missing =
                Error::new(Kind::NotFound, format!("there is no image for platform {platform}"));
            Err(match offers.is_empty() {
                true => missing.hint("the index names no images at all"),
                false => missing.hint(format!("there are images for: {}", offers.join(", "))),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(digit: &str, platform: &str) -> String {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"sha256:{}"{platform}}}"#,
            digit.repeat(64)
        )
    }

    #[test]
    fn chooses_by_platform() {
        let platform = |architecture: &str, variant: &str| {
            format!(r#","platform":{{"os":"linux","architecture":"{architecture}"{variant}}}"#)
        };
        let unknown = r#","platform":{"os":"unknown","architecture":"unknown"}"#;
        let manifests = [
            descriptor("1", &platform("arm", r#","variant":"v7""#)),
            descriptor("2", &platform("arm", r#","variant":"v6""#)),
            descriptor("3", &platform("amd64", "")),
            descriptor("4", unknown),
        ]
        .join(",");
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{manifests}]}}"#);
        let Ok(Document::Index(index)) = Document::parse(text.as_bytes()) else { panic!("{text}") };
        for (want, digit) in [
            ("linux/amd64", Some("3")),
            ("linux/arm/v7", Some("1")),
            ("linux/arm/v6", Some("2")),
            ("linux/arm/v5", None),
            ("linux/arm64", None),
        ] {
            let got = choose(&index, &want.parse().unwrap()).ok().map(|blob| blob.digest);
            let want_digest = digit.map(|digit| Digest::from_hex(&digit.repeat(64)).unwrap());
            assert_eq!(got, want_digest, "{want}");
        }
        let error = choose(&index, &"linux/s390x".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.hint_text(),
            Some("there are images for: linux/amd64, linux/arm/v6, linux/arm/v7")
        );
    }

    #[test]
    fn refuses_what_is_no_image() {
        let blob = descriptor("1", "");
        let config = |kind: &str| {
            format!(r#"{{"mediaType":"{kind}","size":1,"digest":"sha256:{}"}}"#, "2".repeat(64))
        };
        let image = "application/vnd.oci.image.config.v1+json";
        for (text, good) in [
            (
                format!(r#"{{"schemaVersion":2,"config":{},"layers":[{blob}]}}"#, config(image)),
                true,
            ),
            (
                format!(
                    r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#,
                    config("application/vnd.x+json")
                ),
                false,
            ),
            (
                format!(
                    r#"{{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}}"#,
                    config(image)
                ),
                false,
            ),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), false),
            (r#"{"schemaVersion":2}"#.to_owned(), false),
            ("<html>".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(Document::parse(text.as_bytes()).is_ok(), good, "{text}");
        }
    }
}
