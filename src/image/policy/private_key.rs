//! Private keys as `cosign generate-key-pair` makes them: PKCS #8, in a box that a passphrase opens.
//!
//! The box is NaCl's secretbox, XSalsa20 and Poly1305, with a key that scrypt makes of the passphrase.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use serde::Deserialize;

use crate::error::{Context, Error, Kind, Result};

/// What the first line says, newer and older.
const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];
/// Memory for the passphrase beyond which a key is not believed: 128 bytes times N times r.
const MAX_MEMORY: u64 = 1 << 30;

/// A private key that signs.
pub(super) enum PrivateKey {
    /// ECDSA on P-256.
    Ecdsa(EcdsaKeyPair),
    /// Ed25519.
    Ed25519(Ed25519KeyPair),
    /// RSA, with PKCS #1 padding.
    Rsa(Box<RsaKeyPair>),
}

#[derive(Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

impl PrivateKey {
    /// Reads a key from the text of its file.
    pub(super) fn open(text: &str, passphrase: &str) -> Result<Self> {
        let sealed = LABELS.iter().find_map(|label| body(text, label)).ok_or_else(|| {
            Error::new(Kind::Invalid, "it is no encrypted private key of sigstore")
                .hint("a key begins with `-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----`, as `cosign generate-key-pair` writes it")
        })?;
        let damaged = || Error::new(Kind::Invalid, "the private key is damaged");
        let json = STANDARD.decode(sealed).map_err(|_| damaged())?;
        let sealed: Sealed = serde_json::from_slice(&json).context(|| "it is damaged")?;
        let der = unseal(&sealed, passphrase)?;
        let keys = [
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &SystemRandom::new())
                .map(Self::Ecdsa),
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Self::Ed25519),
            RsaKeyPair::from_pkcs8(&der).map(|key| Self::Rsa(Box::new(key))),
        ];
        keys.into_iter().flatten().next().ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                "the private key is for an algorithm that is not supported",
            )
            .hint("sign with ECDSA on P-256, with Ed25519, or with RSA of 2048 bits and more")
        })
    }

    /// Signs a message.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| Error::new(Kind::Internal, "cannot sign");
        let random = SystemRandom::new();
        Ok(match self {
            Self::Ecdsa(key) => key.sign(&random, message).map_err(failed)?.as_ref().to_owned(),
            Self::Ed25519(key) => key.sign(message).as_ref().to_owned(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                signature
            }
        })
    }
}

/// Returns what is between the lines that say what it is, without line ends.
fn body(text: &str, label: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    Some(body.split_whitespace().collect())
}

fn unseal(sealed: &Sealed, passphrase: &str) -> Result<Vec<u8>> {
    let Sealed { kdf, cipher, ciphertext } = sealed;
    if kdf.name != "scrypt" || cipher.name != "nacl/secretbox" {
        let way = format!("{} and {}", kdf.name, cipher.name).replace(char::is_control, " ");
        return Err(Error::new(Kind::Unsupported, format!("it is encrypted by {way}")));
    }
    let damaged = || Error::new(Kind::Invalid, "the private key is damaged");
    let bytes = |text: &str| STANDARD.decode(text).map_err(|_| damaged());
    let (salt, nonce, sealed) = (bytes(&kdf.salt)?, bytes(&cipher.nonce)?, bytes(ciphertext)?);
    let nonce: [u8; 24] = nonce.try_into().map_err(|_| damaged())?;
    let Params { n, r, p } = kdf.params;
    let memory = n.checked_mul(u64::from(r)).and_then(|blocks| blocks.checked_mul(128));
    if !n.is_power_of_two() || p > 16 || memory.is_none_or(|memory| memory > MAX_MEMORY) {
        return Err(damaged());
    }
    let log = u8::try_from(n.trailing_zeros()).map_err(|_| damaged())?;
    let params = scrypt::Params::new(log, r, p).map_err(|_| damaged())?;
    let mut key = [0; 32];
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, &mut key).map_err(|_| damaged())?;

    let (tag, mut content) = match sealed.split_at_checked(16) {
        Some((tag, content)) => (tag, content.to_owned()),
        None => return Err(damaged()),
    };
    let mut stream = XSalsa20::new(&key.into(), &nonce.into());
    // The first 32 bytes of the stream are the key of the check.
    let mut check = [0; 32];
    stream.apply_keystream(&mut check);
    if Poly1305::new(&check.into()).compute_unpadded(&content).as_slice() != tag {
        return Err(Error::new(Kind::Denied, "the passphrase is wrong")
            .hint("pass the file that has it by --sign-passphrase-file"));
    }
    stream.apply_keystream(&mut content);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::policy::key::PublicKey;
    use crate::image::policy::payload::{Payload, PayloadKind};

    /// A key pair of cosign 3.1 with the passphrase `secret`, and what it has signed with that.
    const KEY: &str = "\
-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n\
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6\n\
OCwicCI6MX0sInNhbHQiOiI4RGhsS0E3elRJK3M3L0dEb0pPekZObjQ5TkE3a01r\n\
Sll5ZXJGaE9scEdrPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94\n\
Iiwibm9uY2UiOiJFSUM1SmNGTEp3MHBIdWg2d01qRE5jc3ZUWXJVd1FTTCJ9LCJj\n\
aXBoZXJ0ZXh0IjoiazhPSG5VWktSbE5BMm12aDdiQW4vYXJ1MVBNYkp5Yy9NTnk5\n\
cWdka1Z5bE56SGpBSHhiVzBVUmxNUGNRMUlhTW8rVkRxTGxZMmQ0QmNIUjZ2L0lD\n\
azhWeVFqVHMzc28yQk8xZzUzMHRJY0tqb3J5YzNWV2J4RkFuVzN1N005dHpHOHND\n\
SXYvZDlIZFVwVHJwMkYyYWs1SUw4YU81T2ZLTzVWWU1tOXJJcGo2VHo0K3FEV1dv\n\
SitoRjhDUjREcTlGNW9iUmtVOGptZmZsVUE9PSJ9\n\
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
    const PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4zMNApHs9QId+sn1Yk4msfhU/xXP\n\
qSv8x/JIMx6ESSmHHN/tCcqIb7mHlizB6uckOndy7H50sfv/m5EBWlgEPQ==\n\
-----END PUBLIC KEY-----\n";
    const SIGNED: &str = r#"{"critical":{"identity":{"docker-reference":"127.0.0.1:5599/team/app"},"image":{"docker-manifest-digest":"sha256:af249fe73ff59b3775d888755473ffc54efbade65ba0fab6380428931e9ff5df"},"type":"cosign container image signature"},"optional":null}"#;
    const SIGNATURE: &str = "MEUCIQCjuy8PTfrWI5LJxRy8mBtVaabTeVxJl4yw1pQU1F9g8gIgClbmUH8RfbLoVy/W+1EpsvWGqxYyzC2ETEHoH52OqUg=";

    #[test]
    fn signs_with_keys_of_cosign() {
        let public = PublicKey::from_pem(PUBLIC.as_bytes()).unwrap();
        let signature = STANDARD.decode(SIGNATURE).unwrap();
        assert!(public.has_signed(SIGNED.as_bytes(), &signature));
        let payload = Payload::parse(PayloadKind::Sigstore, SIGNED.as_bytes()).unwrap();
        assert_eq!(payload.name, "127.0.0.1:5599/team/app");
        let key = PrivateKey::open(KEY, "secret").unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(public.has_signed(b"message", &signature));
        assert!(!public.has_signed(b"massage", &signature));
    }

    #[test]
    fn refuses_keys_that_are_no_good() {
        let error = PrivateKey::open(KEY, "wrong").err().unwrap();
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::Denied, "the passphrase is wrong".to_owned())
        );
        let body = body(KEY, LABELS[0]).unwrap();
        let json = String::from_utf8(STANDARD.decode(&body).unwrap()).unwrap();
        let wrap = |json: &str| {
            let text = STANDARD.encode(json);
            format!("-----BEGIN {0}-----\n{text}\n-----END {0}-----\n", LABELS[1])
        };
        assert!(PrivateKey::open(&wrap(&json), "secret").is_ok());
        for (from, to) in [
            ("scrypt", "argon2"),
            ("nacl/secretbox", "none"),
            ("\"N\":65536", "\"N\":65537"),
            ("\"N\":65536", "\"N\":4611686018427387904"),
            ("\"r\":8", "\"r\":0"),
            ("\"p\":1", "\"p\":1000"),
            ("\"nonce\":\"", "\"nonce\":\"AAAA"),
            ("\"ciphertext\":\"", "\"ciphertext\":\"AAAA"),
            ("\"ciphertext\":\"", "\"ciphertext\":\"!"),
            ("\"ciphertext\"", "\"text\""),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json, "{from}");
            assert!(PrivateKey::open(&wrap(&changed), "secret").is_err(), "{from} -> {to}");
        }
        let plain = KEY.replace("ENCRYPTED SIGSTORE ", "");
        for text in ["", "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", &plain] {
            assert!(PrivateKey::open(text, "secret").is_err(), "{text}");
        }
    }
}
