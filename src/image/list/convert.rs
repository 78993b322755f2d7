//! The same manifest in OCI's and in Docker's words. The blobs stay as they are.

use crate::error::{Context, Error, Kind, Result};
use crate::spec::manifest::ManifestFormat;
use crate::spec::oci::{
    Annotations, DOCKER_LIST, DOCKER_MANIFEST, Manifest, OCI_INDEX, OCI_MANIFEST,
};

/// Whose words a list and its members are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// OCI's.
    Oci,
    /// Docker's.
    Docker,
}

/// Media types that mean the same.
const SAME: [(&str, &str); 6] = [
    ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"),
    (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
    ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"),
    (
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ),
];

impl Words {
    /// Returns the words of a form of manifests.
    pub fn of(format: ManifestFormat) -> Self {
        match format {
            ManifestFormat::Oci => Self::Oci,
            ManifestFormat::Docker => Self::Docker,
        }
    }

    /// Returns the media type of an index.
    pub(super) fn index(self) -> &'static str {
        match self {
            Self::Oci => OCI_INDEX,
            Self::Docker => DOCKER_LIST,
        }
    }

    fn manifest(self) -> &'static str {
        match self {
            Self::Oci => OCI_MANIFEST,
            Self::Docker => DOCKER_MANIFEST,
        }
    }

    fn say(self, media_type: &str) -> Option<&'static str> {
        let same = |(oci, docker): &&(&'static str, &'static str)| {
            media_type == *oci || media_type == *docker
        };
        SAME.iter().find(same).map(|(oci, docker)| match self {
            Self::Oci => *oci,
            Self::Docker => *docker,
        })
    }

    /// Says a manifest in these words; `None` if it is in them.
    pub(super) fn translate(self, document: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut manifest: Manifest =
            serde_json::from_slice(document).context(|| "the manifest is malformed")?;
        if super::local::media_type(&manifest) == self.manifest() {
            return Ok(None);
        }
        self.manifest().clone_into(&mut manifest.media_type);
        for blob in std::iter::once(&mut manifest.config).chain(&mut manifest.layers) {
            let said = self.say(&blob.media_type);
            // Docker's own tools know no layers of zstd under any name.
            let said = said.filter(|said| self == Self::Oci || !said.ends_with("zstd"));
            let Some(said) = said else {
                let what = match self {
                    Self::Oci => "OCI",
                    Self::Docker => "Docker",
                };
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("there is no {what} word for `{}`", blob.media_type),
                )
                .hint("leave out --format"));
            };
            said.clone_into(&mut blob.media_type);
            if self == Self::Docker {
                blob.annotations = Annotations::new();
            }
        }
        if self == Self::Docker {
            manifest.annotations = Annotations::new();
            manifest.artifact_type = None;
            manifest.subject = None;
        }
        serde_json::to_vec(&manifest).context(|| "cannot encode the manifest").map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(kind: &str, config: &str, layer: &str) -> String {
        let digest = format!("sha256:{}", "1".repeat(64));
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"{config}","digest":"{digest}","size":1}},"layers":[{{"mediaType":"{layer}","digest":"{digest}","size":1}}]}}"#
        )
    }

    #[test]
    fn says_it_in_other_words() {
        let oci = manifest(OCI_MANIFEST, SAME[0].0, SAME[1].0);
        let docker = manifest(DOCKER_MANIFEST, SAME[0].1, SAME[1].1);
        let said = |words: Words, text: &str| {
            words
                .translate(text.as_bytes())
                .map(|said| said.map(|it| String::from_utf8(it).unwrap()))
        };
        assert_eq!(said(Words::Docker, &oci).unwrap().as_deref(), Some(&*docker));
        assert_eq!(said(Words::Oci, &docker).unwrap().as_deref(), Some(&*oci));
        assert_eq!(said(Words::Oci, &oci).unwrap(), None);
        assert_eq!(said(Words::Docker, &docker).unwrap(), None);
        let zstd = manifest(OCI_MANIFEST, SAME[0].0, SAME[3].0);
        assert_eq!(said(Words::Docker, &zstd).unwrap_err().kind(), Kind::Unsupported);
        let artifact = manifest(OCI_MANIFEST, "application/vnd.oci.empty.v1+json", "text/plain");
        assert_eq!(said(Words::Docker, &artifact).unwrap_err().kind(), Kind::Unsupported);
    }
}
