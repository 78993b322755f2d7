//! Public keys that signatures of cosign's kind are checked with.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use crate::error::{Error, Kind, Result};

/// What an object identifier of a key's algorithm, in DER, stands for.
const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
const ED: &[u8] = b"\x06\x03\x2b\x65\x70";
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// A public key.
pub(super) struct PublicKey {
    algorithm: &'static dyn VerificationAlgorithm,
    key: Vec<u8>,
}

impl PublicKey {
    /// Reads a key in PEM, `-----BEGIN PUBLIC KEY-----`.
    pub(super) fn from_pem(data: &[u8]) -> Result<Self> {
        let invalid = |why: &str| {
            Error::new(Kind::Invalid, format!("bad public key: {why}"))
                .hint("a key begins with `-----BEGIN PUBLIC KEY-----`, as `cosign generate-key-pair` writes it")
        };
        let der = SubjectPublicKeyInfoDer::from_pem_slice(data)
            .map_err(|error| invalid("it is not in PEM").caused_by(error))?;
        let (algorithm, key) = split(&der).ok_or_else(|| invalid("it is damaged"))?;
        let algorithm: &'static dyn VerificationAlgorithm = match algorithm {
            P256 => &ECDSA_P256_SHA256_ASN1,
            P384 => &ECDSA_P384_SHA256_ASN1,
            ED => &ED25519,
            RSA => &RSA_PKCS1_2048_8192_SHA256,
            _ => {
                return Err(Error::new(
                    Kind::Unsupported,
                    "the public key is for an algorithm that is not supported",
                )
                .hint(
                    "keys may be ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 bits and more",
                ));
            }
        };
        Ok(Self { algorithm, key: key.to_owned() })
    }

    /// Tells whether a signature of a message was made with this key.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.key).verify(message, signature).is_ok()
    }
}

/// Splits the DER of a key into what names its algorithm and the key itself.
fn split(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (whole, rest) = element(der, SEQUENCE)?;
    let (algorithm, after) = element(whole, SEQUENCE)?;
    let (bits, end) = element(after, BIT_STRING)?;
    // The first byte counts bits of the last that do not belong to it.
    let (0, key) = bits.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    (rest.is_empty() && end.is_empty()).then_some((algorithm, key))
}

/// Reads one element of DER; returns its content and what follows.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*first == tag).then_some(())?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    /// Keys, and a signature of `message` by each, made with `openssl`.
    const SIGNED: [(&str, &str, &str); 4] = [
        (
            "P-256",
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEvm1SAUbR5y5YwbqMsV9lGzQd8a10plxR7WJ/F+EYczblMEp/6P1uYHDlzLB4AUbwacibMWAekW3ASfPXIZ6pXA==",
            "MEQCIHPL1iLkEFa83b+bBNvCz/nS24kR1J4MfXDziva84wF/AiBjsgdE4gbH9d8agRzCd2PWxCaKY1hLaPVh0EIVz7Kasw==",
        ),
        (
            "P-384",
            "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEZ5E5lcjCj2mbXlI46rbmACzk+xQejGTYea4mMiWPOVu4XUOxRqkRG6Nhu3PJmZPvSI7SVbaHUs/PTjoHMdnLmsOWEAHbsrdCQC7/IhKj4JdhGFR1xT6PmNMduT0KKuCH",
            "MGYCMQCc0yuBbosyDbGtQ6h5gF5gpZhWhU6bIb+fHw0lzONwOGoEAkA36QCpMsSw4RPlAi4CMQDP/gaQG3FaIczhFqEUnhudnOP0YPc+zSIa91TBaFPfZXoBSbT/By/BkWxpZqewPgA=",
        ),
        (
            "ED25519",
            "MCowBQYDK2VwAyEAwUsL5fH7vcv/etHp6Er5G4TTzAogcfcBd4+0FKaUres=",
            "ehvwMJnQ9DS1Wb4J1eRDoInzHxbBTKl9GNOv1s2fQrtxt47fvcUtf8QIK+Oiw+vxCytqfP2nCrhS5sBQXFuQCA==",
        ),
        (
            "RSA",
            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAypXgoNO+6LBB5qtPs8/R1IYLIVJaRtv3U+VYLSImlHOQYgcQN84IUI0bnJVKxS05ueVuYVkc85Dnu4XpboATe0J0snnxMnITIvOk3SPvZ7+FOKhPcmZk/tqRmUOeqhNSTjgd8GsDay/+9EdDk5vRmgDBUsOO85VPed2sdzrtEDokLOJxWfWw7I+/DYkpIHT4PzdMN0DJK8pBwiHTrbj5bsr9VMaHM4bqOy/NcXWxJ0iZ9Hb/ti/hiI4eLtbvyufR43JLIRF7HoizdNVUZgn+ISDNx/nxjRQ58rdgoLtKv1F+VVJf3zw5kMX+uxx5vRajL2kBysqkAYig7wueR/Ii/wIDAQAB",
            "RJSdQZgwnIFt8NGU7daXQOw4BaneENpGv4+/fPowH26RKJnSsDiYDq7oH8MHxBGGx2f0bMnS0nHeDOivWtW0miKr/FgzkeBA9XF6CRNLMJgHGvO74DqjYXP905TgfHOtHFIeyjLNthI4mvr/Za/DQ2Ed/5LlV5mHOcKQB3Be25kPzLuTUZz7Nw/E8UnXHEMWps6sZC6USEPxYm5xdHAYeIjM2R9/tC9oek7uN7r78a8W8JJgpjbLxAfv0eUm210YoUSpRcuw3b6mY+VezlRykkeIG1PBwj9IyxMMgbDbt4/5zPS9nUpBTpCBfFl52g/fb18MHDtTVgUmuYWedGp4SA==",
        ),
    ];

    #[test]
    fn checks_signatures_of_all_algorithms() {
        for (name, key, signature) in SIGNED {
            let pem = format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n");
            let key = PublicKey::from_pem(pem.as_bytes()).unwrap();
            let mut signature = STANDARD.decode(signature).unwrap();
            assert!(key.has_signed(b"message", &signature), "{name}");
            assert!(!key.has_signed(b"messagf", &signature), "{name}");
            *signature.last_mut().unwrap() ^= 1;
            assert!(!key.has_signed(b"message", &signature), "{name}");
            assert!(!key.has_signed(b"message", b""), "{name}");
        }
    }

    #[test]
    fn refuses_what_is_no_key() {
        let wrap = |der: &[u8]| {
            let text = STANDARD.encode(der);
            format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
        };
        for text in [
            String::new(),
            "-----BEGIN PUBLIC KEY-----\n".to_owned(),
            wrap(b""),
            wrap(b"\x30"),
            wrap(b"\x30\x84\xff\xff\xff\xff"),
            wrap(b"\x30\x05\x30\x03\x06\x01\x00"),
            wrap(b"\x30\x82"),
            wrap(b"\x30\x80\x00\x00"),
        ] {
            assert!(PublicKey::from_pem(text.as_bytes()).is_err(), "{text}");
        }
    }
}
