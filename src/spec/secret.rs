//! Secrets of containers as they are asked for: `--secret NAME[,type=mount|env,…]`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// The most bytes that a secret may have, as Podman has it.
pub const MOST: usize = 512_000;

/// The most bytes that a config may have, as Docker has it.
pub const MOST_OF_CONFIG: usize = 1_024_000;

/// Where a container has a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// Name or ID of the secret; its name on record.
    pub name: String,
    /// ID of the secret; empty until it was looked up.
    #[serde(default)]
    pub id: String,
    /// How the container gets it.
    pub shown: SecretShown,
}

/// How a container gets a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretShown {
    /// As a file.
    Mount {
        /// Absolute path in the container.
        target: PathBuf,
        /// Owner, as a number in the container.
        uid: u32,
        /// Group, as a number in the container.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// As a variable of this name.
    Env(String),
}

impl FromStr for SecretUse {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |what: &str| {
            Error::new(Kind::Invalid, format!("invalid secret `{text}`: {what}"))
                .hint("write NAME[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…]")
        };
        let mut fields = text.split(',');
        let name = parse_name(fields.next().unwrap_or_default())?;
        let (mut is_env, mut target, mut file) = (false, None, None);
        let (mut uid, mut gid, mut mode) = (0, 0, 0o444);
        for field in fields {
            let (key, value) = field.split_once('=').ok_or_else(|| invalid(field))?;
            let number = || value.parse::<u32>().map_err(|_| invalid(field));
            match (key, value) {
                ("type", "mount") => is_env = false,
                ("type", "env") => is_env = true,
                ("target", target_) if !target_.is_empty() => target = Some(target_),
                ("uid", _) => (uid, file) = (number()?, Some(key)),
                ("gid", _) => (gid, file) = (number()?, Some(key)),
                ("mode", _) => {
                    let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                    (mode, file) = (bits.ok_or_else(|| invalid(field))?, Some(key));
                }
                _ => return Err(invalid(field)),
            }
        }
        let shown = match (is_env, file) {
            (true, Some(key)) => return Err(invalid(&format!("{key} is for files"))),
            (true, None) => {
                let variable = target.unwrap_or(&name);
                if variable.contains(['=', '\0']) {
                    return Err(invalid("no variable can have that name"));
                }
                SecretShown::Env(variable.to_owned())
            }
            (false, _) => {
                let target = Path::new("/run/secrets").join(target.unwrap_or(&name));
                if target.components().any(|part| part == std::path::Component::ParentDir) {
                    return Err(invalid("the target contains `..`"));
                }
                SecretShown::Mount { target: target.components().collect(), uid, gid, mode }
            }
        };
        Ok(Self { name, id: String::new(), shown })
    }
}

/// Checks the name of a secret, as Podman does.
pub fn parse_name(text: &str) -> Result<String> {
    parse_name_of("secret", text)
}

/// Checks the name of something that is kept as secrets are.
pub fn parse_name_of(what: &str, text: &str) -> Result<String> {
    let good = (1..=253).contains(&text.len()) && !text.contains([',', '/', '=', '\0']);
    if good && !text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    Err(Error::new(
        Kind::Invalid,
        format!(
            "{what} name `{text}` can not include '=', '/', ',', or the NULL ('\\0') and be between 1 and 253 characters: invalid {what} name"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_uses() {
        for (text, want) in [
            ("pw", Some("pw /run/secrets/pw 0:0 444")),
            ("pw,target=x", Some("pw /run/secrets/x 0:0 444")),
            ("pw,target=/etc/pw,uid=5,gid=6,mode=0400", Some("pw /etc/pw 5:6 400")),
            ("pw,type=env", Some("pw $pw")),
            ("pw,type=env,target=PASSWORD", Some("pw $PASSWORD")),
            ("pw,type=env,mode=400", None),
            ("pw,type=env,target=A=B", None),
            ("pw,type=file", None),
            ("pw,mode=9", None),
            ("pw,uid=root", None),
            ("pw,target=../x", None),
            ("pw,x", None),
            ("", None),
            ("a/b", None),
        ] {
            let got = text.parse::<SecretUse>().ok().map(|secret| match secret.shown {
                SecretShown::Env(variable) => format!("{} ${variable}", secret.name),
                SecretShown::Mount { target, uid, gid, mode } => {
                    format!("{} {} {uid}:{gid} {mode:o}", secret.name, target.display())
                }
            });
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
