//! `policy.json`, read strictly: what is not known, or is there twice, makes the whole file bad.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::identity::Identity;
use super::scope;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// What holds where nothing else does.
    pub(super) default: Requirements,
    /// By transport and scope.
    #[serde(default)]
    pub(super) transports: Unique<Scopes>,
}

/// Requirements of one transport by scope.
pub(super) type Scopes = Unique<Requirements>;

/// What must all be so.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<Requirement>")]
pub(super) struct Requirements(pub(super) Vec<Requirement>);

/// What must be so for an image to be accepted.
#[derive(Debug, Deserialize)]
// Variants without fields would let unknown ones pass.
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Requirement {
    /// Nothing.
    InsecureAcceptAnything {},
    /// It never is.
    Reject {},
    /// It is signed with OpenPGP.
    SignedBy(SignedBy),
    /// Its base is signed: a plan that nobody has carried out.
    #[serde(rename_all = "camelCase")]
    SignedBaseLayer {
        #[expect(dead_code, reason = "it is parsed so that the file is found to be good")]
        base_layer_identity: Identity,
    },
    /// It is signed as cosign does.
    SigstoreSigned(Box<SigstoreSigned>),
}

/// What an OpenPGP signature must be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SignedBy {
    #[expect(dead_code, reason = "there is one value only")]
    key_type: KeyType,
    /// File with keys.
    pub(super) key_path: Option<PathBuf>,
    /// Files with keys.
    pub(super) key_paths: Option<Vec<PathBuf>>,
    /// Keys in base 64.
    pub(super) key_data: Option<String>,
    /// What it must say about the image's name.
    #[serde(default)]
    pub(super) signed_identity: Identity,
}

#[derive(Debug, Deserialize)]
enum KeyType {
    #[serde(rename = "GPGKeys")]
    GpgKeys,
}

/// What a signature of cosign's kind must be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SigstoreSigned {
    /// File with a key.
    pub(super) key_path: Option<PathBuf>,
    /// Files with a key each.
    pub(super) key_paths: Option<Vec<PathBuf>>,
    /// A key in base 64.
    pub(super) key_data: Option<String>,
    /// Keys in base 64.
    pub(super) key_datas: Option<Vec<String>>,
    fulcio: Option<serde_json::Value>,
    pki: Option<serde_json::Value>,
    rekor_public_key_path: Option<PathBuf>,
    rekor_public_key_paths: Option<Vec<PathBuf>>,
    rekor_public_key_data: Option<String>,
    rekor_public_key_datas: Option<Vec<String>>,
    /// What it must say about the image's name.
    #[serde(default)]
    pub(super) signed_identity: Identity,
}

impl SigstoreSigned {
    /// Returns the name of a demand that we cannot check.
    pub(super) fn beyond_us(&self) -> Option<&'static str> {
        let demands = [
            (self.fulcio.is_some(), "fulcio"),
            (self.pki.is_some(), "pki"),
            (self.rekor_public_key_path.is_some(), "rekorPublicKeyPath"),
            (self.rekor_public_key_paths.is_some(), "rekorPublicKeyPaths"),
            (self.rekor_public_key_data.is_some(), "rekorPublicKeyData"),
            (self.rekor_public_key_datas.is_some(), "rekorPublicKeyDatas"),
        ];
        demands.into_iter().find(|(is_made, _)| *is_made).map(|(_, name)| name)
    }
}

impl Requirement {
    /// Says what is wrong with it, if anything is.
    fn fault(&self) -> Option<&'static str> {
        let one_of = |sources: &[bool], fault| {
            let given = sources.iter().filter(|is_given| **is_given).count();
            (given != 1).then_some(fault)
        };
        match self {
            Self::SignedBy(it) => it.signed_identity.fault().or(one_of(
                &[it.key_path.is_some(), it.key_paths.is_some(), it.key_data.is_some()],
                "exactly one of keyPath, keyPaths and keyData must be given",
            )),
            Self::SigstoreSigned(it) => it.signed_identity.fault().or(one_of(
                &[
                    it.key_path.is_some(),
                    it.key_paths.is_some(),
                    it.key_data.is_some(),
                    it.key_datas.is_some(),
                    it.fulcio.is_some(),
                    it.pki.is_some(),
                ],
                "exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki must be given",
            )),
            _ => None,
        }
    }
}

impl TryFrom<Vec<Requirement>> for Requirements {
    type Error = &'static str;

    fn try_from(list: Vec<Requirement>) -> Result<Self, &'static str> {
        if list.is_empty() {
            return Err("a list of requirements must not be empty");
        }
        match list.iter().find_map(Requirement::fault) {
            Some(fault) => Err(fault),
            None => Ok(Self(list)),
        }
    }
}

/// A map in which no key may be twice.
#[derive(Debug)]
pub(super) struct Unique<V>(pub(super) BTreeMap<String, V>);

impl<V> Default for Unique<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Unique<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<V>, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    if entries.contains_key(&key) {
                        return Err(A::Error::custom(format!("`{key}` is there twice")));
                    }
                    entries.insert(key, value);
                }
                Ok(Unique(entries))
            }
        }
        from.deserialize_map(Entries(PhantomData))
    }
}

impl Document {
    /// Parses a file.
    pub(super) fn parse(data: &[u8]) -> serde_json::Result<Self> {
        let document: Self = serde_json::from_slice(data)?;
        for (transport, scopes) in &document.transports.0 {
            for scope in scopes.0.keys() {
                if !scope::is_valid(transport, scope) {
                    return Err(serde_json::Error::custom(format!(
                        "transport `{transport}` has no scope `{scope}`"
                    )));
                }
            }
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_strict() {
        const ANYTHING: &str = r#"[{"type":"insecureAcceptAnything"}]"#;
        let signed = |fields: &str| format!(r#"{{"default":[{{"type":"signedBy",{fields}}}]}}"#);
        let sigstore =
            |fields: &str| format!(r#"{{"default":[{{"type":"sigstoreSigned",{fields}}}]}}"#);
        let scopes = |text: &str| format!(r#"{{"default":{ANYTHING},"transports":{text}}}"#);
        for (text, good) in [
            (format!(r#"{{"default":{ANYTHING}}}"#), true),
            (r#"{"default":[{"type":"reject"}]}"#.to_owned(), true),
            (scopes(&format!(r#"{{"docker":{{"":{ANYTHING},"quay.io":{ANYTHING}}}}}"#)), true),
            (scopes(&format!(r#"{{"dir":{{"/a/b":{ANYTHING}}}}}"#)), true),
            (scopes(&format!(r#"{{"later":{{"what ever":{ANYTHING}}}}}"#)), true),
            (signed(r#""keyType":"GPGKeys","keyPath":"/k""#), true),
            (signed(r#""keyType":"GPGKeys","keyPaths":["/k"],"signedIdentity":{"type":"matchExact"}"#), true),
            (sigstore(r#""keyData":"AAAA""#), true),
            (sigstore(r#""fulcio":{"caPath":"/x"},"rekorPublicKeyPath":"/y""#), true),
            (
                r#"{"default":[{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}]}"#.to_owned(),
                true,
            ),
            (String::new(), false),
            ("{}".to_owned(), false),
            ("[]".to_owned(), false),
            (r#"{"default":[]}"#.to_owned(), false),
            (r#"{"default":[{}]}"#.to_owned(), false),
            (r#"{"default":[{"type":"Reject"}]}"#.to_owned(), false),
            (r#"{"default":[{"type":"reject","x":1}]}"#.to_owned(), false),
            (r#"{"default":[{"type":"reject","type":"reject"}]}"#.to_owned(), false),
            (r#"{"default":[{"type":"insecureAcceptAnything","keyPath":"/k"}]}"#.to_owned(), false),
            (format!(r#"{{"default":{ANYTHING},"x":1}}"#), false),
            (format!(r#"{{"default":{ANYTHING},"default":{ANYTHING}}}"#), false),
            (format!(r#"{{"default":{ANYTHING}}} x"#), false),
            (scopes(&format!(r#"{{"docker":{{"a":{ANYTHING},"a":{ANYTHING}}}}}"#)), false),
            (scopes(&format!(r#"{{"docker":{{"":{ANYTHING}}},"docker":{{"":{ANYTHING}}}}}"#)), false),
            (scopes(r#"{"docker":{"":[]}}"#), false),
            (scopes(&format!(r#"{{"dir":{{"relative":{ANYTHING}}}}}"#)), false),
            (scopes(&format!(r#"{{"docker-archive":{{"/x":{ANYTHING}}}}}"#)), false),
            (signed(r#""keyPath":"/k""#), false),
            (signed(r#""keyType":"GPGKeys""#), false),
            (signed(r#""keyType":"X509Certificates","keyPath":"/k""#), false),
            (signed(r#""keyType":"GPGKeys","keyPath":"/k","keyData":"AAAA""#), false),
            (signed(r#""keyType":"GPGKeys","keyPath":"/k","keyPath":"/l""#), false),
            (signed(r#""keyType":"GPGKeys","keyPath":"/k","extra":true"#), false),
            (signed(r#""keyType":"GPGKeys","keyPath":"/k","signedIdentity":{"type":"x"}"#), false),
            (sigstore(r#""keyType":"GPGKeys","keyPath":"/k""#), false),
            (sigstore(r#""keyPath":"/k","fulcio":{}"#), false),
            (sigstore(r#""rekorPublicKeyPath":"/y""#), false),
        ] {
            let parsed = Document::parse(text.as_bytes());
            assert_eq!(parsed.is_ok(), good, "{text}: {parsed:?}");
        }
    }

    #[test]
    fn knows_what_is_beyond_us() {
        for (field, want) in [
            (r#""keyPath":"/k""#, None),
            (r#""fulcio":{}"#, Some("fulcio")),
            (r#""pki":{}"#, Some("pki")),
            (r#""keyPath":"/k","rekorPublicKeyDatas":[]"#, Some("rekorPublicKeyDatas")),
        ] {
            let parsed: SigstoreSigned = serde_json::from_str(&format!("{{{field}}}")).unwrap();
            assert_eq!(parsed.beyond_us(), want, "{field}");
        }
    }
}
