//! Keys that detach the user's terminal from a container, as in `ctrl-p,ctrl-q`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// The bytes that a terminal sends for a sequence of keys; none means that nothing detaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(pub Vec<u8>);

impl Default for DetachKeys {
    /// Returns `ctrl-p,ctrl-q`.
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        keys.map(Self).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("invalid detach keys `{text}`"))
                .hint("write letters and ctrl-LETTER with commas between, as in ctrl-p,ctrl-q")
        })
    }
}

impl fmt::Display for DetachKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match byte {
                0..0x20 => {
                    let letter = char::from(byte | 0x40).to_ascii_lowercase();
                    write!(f, "{comma}ctrl-{letter}")?;
                }
                byte => write!(f, "{comma}{}", char::from(*byte))?,
            }
        }
        Ok(())
    }
}

/// Returns the byte of one key: a character, or `ctrl-` and a character that has a control code.
fn key(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [letter @ b' '..=b'~'] => Some(*letter),
        [prefix @ .., letter] if prefix.eq_ignore_ascii_case(b"ctrl-") => match letter {
            // The control code of a letter is its place in the alphabet.
            b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'['..=b'_' => Some(letter & 0x1f),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_detach_keys() {
        for (text, want) in [
            ("ctrl-p,ctrl-q", Some(vec![16, 17])),
            ("a", Some(vec![97])),
            ("CTRL-A,x", Some(vec![1, 120])),
            ("ctrl-@,ctrl-[,ctrl-_", Some(vec![0, 27, 31])),
            ("", Some(vec![])),
            ("ctrl-", None),
            ("ctrl-1", None),
            ("ab", None),
            ("a,", None),
            ("alt-a", None),
            ("é", None),
        ] {
            assert_eq!(text.parse::<DetachKeys>().ok(), want.map(DetachKeys), "{text}");
        }
    }
}
