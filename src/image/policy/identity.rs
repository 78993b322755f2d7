//! What a signature must say about the name of the image that it is for.

use serde::{Deserialize, Deserializer};

use crate::spec::reference::Reference;

/// How the name in a signature must fit the name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
// Variants without fields would let unknown ones pass.
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Identity {
    /// They are equal.
    MatchExact {},
    /// They are equal, or of the same repository if a digest was asked for.
    MatchRepoDigestOrExact {},
    /// They are of the same repository.
    MatchRepository {},
    /// The name is this one.
    ExactReference {
        #[serde(rename = "dockerReference")]
        name: Name,
    },
    /// The name is of this repository.
    ExactRepository {
        #[serde(rename = "dockerRepository")]
        name: Name,
    },
    /// As [`Identity::MatchRepoDigestOrExact`], after the beginning of the name that was asked for is
    /// replaced.
    #[serde(rename = "remapIdentity")]
    Remap {
        /// What is replaced.
        prefix: Prefix,
        /// By what.
        #[serde(rename = "signedPrefix")]
        signed: Prefix,
    },
}

impl Default for Identity {
    fn default() -> Self {
        Self::MatchRepoDigestOrExact {}
    }
}

/// A name of an image, and whether it has neither tag nor digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    reference: Reference,
    is_bare: bool,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let last = text.rfind('/').map_or(0, |slash| slash + 1);
        let is_bare = !text[last..].contains([':', '@']);
        Some(Self { reference: text.parse().ok()?, is_bare })
    }

    /// Tells whether both are the same and say more than a repository.
    fn is(&self, other: &Reference) -> bool {
        !self.is_bare && self.reference == *other
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no name of an image")))
    }
}

/// A registry, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Prefix(String);

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let path = text.split_once('/').map_or("", |(_, path)| path);
        let reference: Result<Reference, _> = format!("{text}/name").parse();
        match reference {
            Ok(it) if text.starts_with(it.registry()) && !path.contains([':', '@']) => {
                Ok(Self(text))
            }
            _ => Err(format!("`{text}` is no prefix of names")),
        }
    }
}

impl Identity {
    /// Tells whether this can never hold, whatever is signed.
    pub(super) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::ExactReference { name } if name.is_bare => {
                Some("dockerReference has neither a tag nor a digest")
            }
            _ => None,
        }
    }

    /// Tells whether the name in a signature is good. `wanted` is what was asked for, if that has a name.
    pub(super) fn accepts(&self, wanted: Option<&Reference>, signed: &str) -> bool {
        let Some(signed) = Name::parse(signed) else { return false };
        let same_repository =
            |other: &Reference| signed.reference.repository() == other.repository();
        match self {
            Self::ExactReference { name } => !name.is_bare && signed.is(&name.reference),
            Self::ExactRepository { name } => same_repository(&name.reference),
            Self::MatchExact {} => wanted.is_some_and(|wanted| signed.is(wanted)),
            Self::MatchRepository {} => wanted.is_some_and(same_repository),
            Self::MatchRepoDigestOrExact {} => wanted.is_some_and(|wanted| signed.fits(wanted)),
            Self::Remap { prefix, signed: other } => wanted
                .and_then(|wanted| remap(wanted, &prefix.0, &other.0))
                .is_some_and(|wanted| signed.fits(&wanted)),
        }
    }
}

impl Name {
    /// Tells whether both are the same, or of the same repository if `wanted` is a digest: the digest
    /// itself is compared elsewhere.
    fn fits(&self, wanted: &Reference) -> bool {
        if self.is_bare {
            return false;
        }
        match wanted.digest() {
            Some(_) => self.reference.repository() == wanted.repository(),
            None => self.reference == *wanted,
        }
    }
}

/// Replaces a prefix; a name without it stays as it is. `None` if the result is not a full name.
fn remap(wanted: &Reference, prefix: &str, by: &str) -> Option<Reference> {
    let repository = wanted.repository();
    match repository.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let text = format!("{by}{}", &wanted.to_string()[prefix.len()..]);
            text.parse().ok().filter(|reference: &Reference| reference.to_string() == text)
        }
        _ => Some(wanted.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_names() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let by_digest = format!("quay.io/a/b@{digest}");
        let both = format!("quay.io/a/b:1@{digest}");
        let identity = |text: &str| -> Identity { serde_json::from_str(text).unwrap() };
        let exact = r#"{"type":"matchExact"}"#;
        let usual = r#"{"type":"matchRepoDigestOrExact"}"#;
        let repository = r#"{"type":"matchRepository"}"#;
        let reference = r#"{"type":"exactReference","dockerReference":"quay.io/x/y:2"}"#;
        let in_repository = r#"{"type":"exactRepository","dockerRepository":"quay.io/x/y"}"#;
        let remapped = r#"{"type":"remapIdentity","prefix":"mirror.example:5000/quay","signedPrefix":"quay.io"}"#;
        for (kind, wanted, signed, want) in [
            (exact, "quay.io/a/b:1", "quay.io/a/b:1", true),
            (exact, "nginx:1", "docker.io/library/nginx:1", true),
            (exact, "docker.io/library/nginx:1", "nginx:1", true),
            (exact, "quay.io/a/b:1", "quay.io/a/b:2", false),
            (exact, "quay.io/a/b", "quay.io/a/b", false),
            (exact, &by_digest, "quay.io/a/b:1", false),
            (exact, &by_digest, &by_digest, true),
            (usual, "quay.io/a/b:1", "quay.io/a/b:1", true),
            (usual, "quay.io/a/b:1", "quay.io/a/b:2", false),
            (usual, "quay.io/a/b:1", "quay.io/a/b", false),
            (usual, "quay.io/a/b:1", "quay.io/a/bb:1", false),
            (usual, &by_digest, "quay.io/a/b:1", true),
            (usual, &by_digest, "quay.io/a/b", false),
            (usual, &by_digest, "quay.io/a/c:1", false),
            (usual, &both, "quay.io/a/b:1", true),
            (repository, "quay.io/a/b:1", "quay.io/a/b", true),
            (repository, "quay.io/a/b:1", "quay.io/a/b:2", true),
            (repository, "quay.io/a/b:1", "quay.io/a/c:1", false),
            (reference, "localhost/z", "quay.io/x/y:2", true),
            (reference, "quay.io/x/y:2", "quay.io/x/y:1", false),
            (in_repository, "localhost/z", "quay.io/x/y:2", true),
            (in_repository, "localhost/z", "quay.io/x/y", true),
            (in_repository, "localhost/z", "quay.io/x/z", false),
            (remapped, "mirror.example:5000/quay/a/b:1", "quay.io/a/b:1", true),
            (remapped, "mirror.example:5000/quay/a/b:1", "mirror.example:5000/quay/a/b:1", false),
            (remapped, "mirror.example:5000/quayx/a/b:1", "quay.iox/a/b:1", false),
            (remapped, "mirror.example:5000/quayx/a:1", "mirror.example:5000/quayx/a:1", true),
            (usual, "quay.io/a/b:1", "not a name", false),
            (usual, "quay.io/a/b:1", "", false),
        ] {
            let wanted: Reference = wanted.parse().unwrap();
            let got = identity(kind).accepts(Some(&wanted), signed);
            assert_eq!(got, want, "{kind} {wanted} {signed}");
        }
        assert!(!identity(usual).accepts(None, "quay.io/a/b:1"));
        assert!(!identity(repository).accepts(None, "quay.io/a/b:1"));
        assert!(identity(reference).accepts(None, "quay.io/x/y:2"));
    }

    #[test]
    fn is_strict() {
        for (text, good) in [
            (r#"{"type":"matchExact"}"#, true),
            (r#"{"type":"matchExact","prefix":"x"}"#, false),
            (r#"{"type":"matchNothing"}"#, false),
            (r#"{}"#, false),
            (r#"{"type":"exactReference","dockerReference":"a b"}"#, false),
            (r#"{"type":"exactReference"}"#, false),
            (r#"{"type":"exactRepository","dockerRepository":"quay.io/x","x":1}"#, false),
            (
                r#"{"type":"remapIdentity","prefix":"quay.io","signedPrefix":"localhost:5000"}"#,
                true,
            ),
            (r#"{"type":"remapIdentity","prefix":"quay.io/a:1","signedPrefix":"quay.io"}"#, false),
            (r#"{"type":"remapIdentity","prefix":"","signedPrefix":"quay.io"}"#, false),
            (r#"{"type":"remapIdentity","prefix":"library","signedPrefix":"quay.io"}"#, false),
            (r#"{"type":"remapIdentity","prefix":"quay.io"}"#, false),
        ] {
            assert_eq!(serde_json::from_str::<Identity>(text).is_ok(), good, "{text}");
        }
        let bare: Identity =
            serde_json::from_str(r#"{"type":"exactReference","dockerReference":"quay.io/x/y"}"#)
                .unwrap();
        assert!(bare.fault().is_some());
    }
}
