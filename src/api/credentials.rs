//! Who a client is to registries, as it says in header fields.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::request::Call;
use crate::engine::images::RegistryOptions;
use crate::error::{Error, Kind, Result};

/// What proves who a client is to one registry, as in Docker's `AuthConfig`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Proof {
    #[serde(deserialize_with = "null_is_empty")]
    pub(super) username: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub(super) password: String,
    #[serde(deserialize_with = "null_is_empty")]
    auth: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub(super) serveraddress: String,
    #[serde(deserialize_with = "null_is_empty")]
    identitytoken: String,
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Proof {
    /// Returns an entry of a file with credentials; `None` if nothing is proven.
    fn entry(&self) -> Option<Value> {
        let mut entry = Map::new();
        let fields = [
            ("username", &self.username),
            ("password", &self.password),
            ("auth", &self.auth),
            ("identitytoken", &self.identitytoken),
        ];
        for (name, value) in fields {
            if !value.is_empty() {
                entry.insert(name.to_owned(), value.as_str().into());
            }
        }
        if entry.is_empty() { None } else { Some(entry.into()) }
    }
}

/// Returns how a registry is talked to for a client: as it says in `X-Registry-Auth`.
pub(super) fn of_request(call: &Call, registry: &str) -> Result<RegistryOptions> {
    let proof = call.field("x-registry-auth").map_or_else(|| Ok(Proof::default()), decode)?;
    Ok(options(proof.entry().map(|entry| (registry.to_owned(), entry)).into_iter().collect()))
}

/// Returns how registries are talked to for a client: as it says in `X-Registry-Config`.
pub(super) fn of_build(call: &Call) -> Result<RegistryOptions> {
    let field = call.field("x-registry-config");
    let proofs: BTreeMap<String, Proof> = field.map_or_else(|| Ok(BTreeMap::new()), decode)?;
    let entries = proofs.iter().filter_map(|(name, proof)| Some((name.clone(), proof.entry()?)));
    Ok(options(entries.collect()))
}

fn options(entries: Map<String, Value>) -> RegistryOptions {
    let document = (!entries.is_empty()).then(|| json!({ "auths": entries }).to_string());
    RegistryOptions { logins: document.map(String::into_bytes), ..RegistryOptions::default() }
}

/// Decodes base64 of JSON, by either alphabet and with or without padding: clients differ.
fn decode<T: Default + for<'de> Deserialize<'de>>(text: &str) -> Result<T> {
    let text = text.trim().replace('+', "-").replace('/', "_");
    if text.is_empty() {
        return Ok(T::default());
    }
    let padding = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    // What it says is a secret: no cause that may quote it.
    let invalid = || Error::new(Kind::Invalid, "invalid credentials in a header field");
    let data =
        GeneralPurpose::new(&alphabet::URL_SAFE, padding).decode(text).map_err(|_| invalid())?;
    serde_json::from_slice::<Option<T>>(&data).map(Option::unwrap_or_default).map_err(|_| invalid())
}

/// Decodes a header field.
#[cfg(any(fuzzing, test))]
pub(super) fn read(field: &str) {
    drop(decode::<Proof>(field).map(|proof| proof.entry()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_clients_send() {
        let of = |text: &str| decode::<Proof>(text).ok().map(|proof| proof.entry());
        let user = json!({ "username": "u", "password": "p?>" });
        for (text, want) in [
            // {"username":"u","password":"p?>"} by either alphabet, with and without padding.
            ("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InA_PiJ9", Some(Some(user.clone()))),
            ("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InA/PiJ9", Some(Some(user.clone()))),
            ("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InA_PiIgfQ", Some(Some(user.clone()))),
            ("eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InA_PiIgfQ==", Some(Some(user))),
            ("e30", Some(None)),
            ("e30=", Some(None)),
            ("bnVsbA==", Some(None)),
            ("", Some(None)),
            ("nonsense!", None),
            ("MQ==", None),
        ] {
            assert_eq!(of(text), want, "{text}");
        }
    }
}
