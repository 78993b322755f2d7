//! Forms of an image's manifest.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};
use crate::spec::compression::Compression;

/// Whose words a manifest is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ManifestFormat {
    /// OCI's.
    #[default]
    Oci,
    /// Docker's, version 2, schema 2.
    Docker,
}

impl ManifestFormat {
    /// Returns the media type of a manifest.
    pub fn manifest_type(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    /// Returns the media type of a configuration.
    pub fn config_type(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    /// Returns the media type of a layer; `None` if there is none.
    pub fn layer_type(self, compression: Compression) -> Option<&'static str> {
        Some(match (self, compression) {
            (Self::Oci, Compression::None) => "application/vnd.oci.image.layer.v1.tar",
            (Self::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
            (Self::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
            (Self::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Compression::Gzip) => {
                "application/vnd.docker.image.rootfs.diff.tar.gzip"
            }
            (Self::Docker, Compression::Zstd) | (_, Compression::Bzip2 | Compression::Xz) => {
                return None;
            }
        })
    }
}

impl FromStr for ManifestFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "oci" => Ok(Self::Oci),
            "v2s2" | "docker" => Ok(Self::Docker),
            "v2s1" => Err(Error::new(
                Kind::Unsupported,
                "manifests of schema version 1 are no longer supported",
            )
            .hint("write oci or v2s2")),
            _ => Err(Error::new(Kind::Invalid, format!("unknown manifest format `{text}`"))
                .hint("write oci or v2s2")),
        }
    }
}
