//! The documents of OCI images: manifests, indexes and the descriptors in them.
//!
//! Written deterministically, in the order in which the peers write them: the same content has the
//! same digest. Documents come from many hands: missing members and `null` mean the same, unknown
//! members are passed over. What is passed on is passed on byte for byte, not written anew.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::image::null_is_default;
use crate::error::{Error, Kind, Result};

/// Media type of OCI's indexes.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of OCI's manifests.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of Docker's manifest lists.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of Docker's manifests.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a configuration that says nothing: `{}`.
pub const EMPTY_JSON: &str = "application/vnd.oci.empty.v1+json";
/// The annotation with the name of a file.
pub const TITLE: &str = "org.opencontainers.image.title";
/// The annotation with the time of making.
pub const CREATED: &str = "org.opencontainers.image.created";

/// Annotations, by name.
pub type Annotations = BTreeMap<String, String>;

/// What a document says of another one, or of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default, deserialize_with = "null_is_default")]
    pub media_type: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Number of its bytes.
    pub size: u64,
    /// Where it can be had besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
    /// What else is said of it.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub annotations: Annotations,
    /// Its bytes, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<ImagePlatform>,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Describes something of which no more is to be said.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }
}

/// What an image runs on, as an index says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImagePlatform {
    /// Processor, in Go's words.
    #[serde(deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Operating system.
    #[serde(deserialize_with = "null_is_default")]
    pub os: String,
    /// Version of the operating system.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What the operating system must have.
    #[serde(
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub os_features: Vec<String>,
    /// Variant of the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What the processor must have.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub features: Vec<String>,
}

/// A list of manifests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// OCI's or Docker's.
    #[serde(default, deserialize_with = "null_is_default")]
    pub media_type: String,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What else is said of it.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub annotations: Annotations,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: OCI_INDEX.to_owned(),
            artifact_type: None,
            manifests: Vec::new(),
            subject: None,
            annotations: Annotations::new(),
        }
    }
}

/// What one image or artifact consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// OCI's or Docker's.
    #[serde(default, deserialize_with = "null_is_default")]
    pub media_type: String,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, lowest first, or its files.
    #[serde(deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// What else is said of it.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub annotations: Annotations,
}

impl Manifest {
    /// Returns the digests of its configuration and its layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Tells whether it is an image's, not an artifact's.
    pub fn is_image(&self) -> bool {
        matches!(
            &*self.config.media_type,
            "application/vnd.oci.image.config.v1+json"
                | "application/vnd.docker.container.image.v1+json"
        )
    }

    /// Returns what kind of artifact it is: the type of its configuration, if it says no other.
    pub fn kind(&self) -> &str {
        match &self.artifact_type {
            Some(kind) if !kind.is_empty() => kind,
            _ => &self.config.media_type,
        }
    }
}

/// An annotation as users write it: `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Annotation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            Some(_) => {
                Err(Error::new(Kind::Invalid, format!("no name given for annotation \"{text}\"")))
            }
            None => {
                Err(Error::new(Kind::Invalid, format!("no value given for annotation \"{text}\"")))
            }
        }
    }
}

/// What shall be said otherwise of a member of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberChange {
    /// Processor.
    pub architecture: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// What the operating system must have; nothing said if empty.
    pub os_features: Vec<String>,
    /// Variant of the processor.
    pub variant: Option<String>,
    /// What the processor must have; nothing said if empty.
    pub features: Vec<String>,
    /// Annotations to add or replace.
    pub annotations: Annotations,
}

impl MemberChange {
    /// Changes what is said of a member.
    pub fn apply(&self, member: &mut Descriptor) {
        let speaks_of_platform = self.architecture.is_some()
            || self.os.is_some()
            || self.os_version.is_some()
            || self.variant.is_some()
            || !self.os_features.is_empty()
            || !self.features.is_empty();
        if speaks_of_platform {
            let platform = member.platform.get_or_insert_default();
            let set = |field: &mut String, value: &Option<String>| {
                if let Some(value) = value {
                    field.clone_from(value);
                }
            };
            set(&mut platform.architecture, &self.architecture);
            set(&mut platform.os, &self.os);
            if self.os_version.is_some() {
                platform.os_version.clone_from(&self.os_version);
            }
            if self.variant.is_some() {
                platform.variant.clone_from(&self.variant);
            }
            if !self.os_features.is_empty() {
                platform.os_features.clone_from(&self.os_features);
            }
            if !self.features.is_empty() {
                platform.features.clone_from(&self.features);
            }
        }
        member.annotations.extend(self.annotations.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_others_write() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","annotations":null,"x":1,"manifests":[
                {{"mediaType":"{DOCKER_MANIFEST}","size":7,"digest":"{digest}","platform":
                  {{"architecture":"arm","os":"linux","os.version":"3","os.features":["a"],"variant":"v7"}}}}]}}"#
        );
        let index: Index = serde_json::from_str(&text).unwrap();
        let platform = index.manifests[0].platform.clone().unwrap();
        assert_eq!(platform.os_version.as_deref(), Some("3"));
        assert_eq!(platform.os_features, ["a"]);
        let again = serde_json::to_string(&index).unwrap();
        assert!(again.contains(r#""os":"linux","os.version":"3","os.features":["a"]"#), "{again}");
        assert_eq!(serde_json::from_str::<Index>(&again).unwrap(), index);
        let none = format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","manifests":null}}"#);
        assert!(serde_json::from_str::<Index>(&none).unwrap().manifests.is_empty());
        assert!(serde_json::from_str::<Manifest>(r#"{"schemaVersion":2}"#).is_err());
    }

    #[test]
    fn parses_annotations() {
        for (text, want) in [
            ("a=b", Some(("a", "b"))),
            ("a=", Some(("a", ""))),
            ("a=b=c", Some(("a", "b=c"))),
            ("=b", None),
            ("a", None),
            ("", None),
        ] {
            let got = text.parse::<Annotation>().ok();
            let got = got.as_ref().map(|it| (it.name.as_str(), it.value.as_str()));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn changes_only_what_is_said() {
        let digest = Digest::from_hex(&"1".repeat(64)).unwrap();
        let mut member = Descriptor::new(OCI_MANIFEST, digest, 1);
        member.annotations.insert("a".to_owned(), "1".to_owned());
        MemberChange::default().apply(&mut member);
        assert_eq!(member.platform, None);
        let change = MemberChange {
            variant: Some("v7".to_owned()),
            annotations: Annotations::from([("b".to_owned(), "2".to_owned())]),
            ..MemberChange::default()
        };
        change.apply(&mut member);
        let change =
            MemberChange { architecture: Some("arm".to_owned()), ..MemberChange::default() };
        change.apply(&mut member);
        let platform = member.platform.unwrap();
        assert_eq!((&*platform.architecture, platform.variant.as_deref()), ("arm", Some("v7")));
        assert_eq!(member.annotations.len(), 2);
    }
}
