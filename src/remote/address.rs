//! Where another host's service is, as in `ssh://me@host` or `tcp://10.0.0.1:2376`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// The port of a service with TLS.
const SECURE: u16 = 2376;

/// The port of a service without.
const PLAIN: u16 = 2375;

/// An address of a service of Docker's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix://PATH`: a socket of this machine.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`.
    Tcp {
        /// Name or number of the host.
        host: String,
        /// Its port, if one is said.
        port: Option<u16>,
        /// Whether it is encrypted, where the address says so: `http` or `https`.
        secure: Option<bool>,
    },
    /// `ssh://[USER@]HOST[:PORT][/PATH]`: a socket of a machine that `ssh` reaches.
    Ssh {
        /// What is before the host, as in `me@`; empty if there is nothing.
        user: String,
        /// The host.
        host: String,
        /// The port of its SSH server, if it is not the usual one.
        port: Option<u16>,
        /// The socket there, if it is not the usual one.
        path: Option<String>,
    },
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid address of a host `{text}`"))
                .hint("write unix:///PATH, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT][/PATH]")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        match scheme {
            "unix" if !rest.is_empty() => Ok(Self::Unix(rest.into())),
            "tcp" | "http" | "https" => {
                let rest = rest.strip_suffix('/').unwrap_or(rest);
                let (host, port) = host_and_port(rest).ok_or_else(invalid)?;
                let secure = match scheme {
                    "tcp" => None,
                    scheme => Some(scheme == "https"),
                };
                Ok(Self::Tcp { host, port, secure })
            }
            "ssh" => {
                let (there, path) = match rest.find('/') {
                    Some(slash) => (&rest[..slash], Some(&rest[slash..])),
                    None => (rest, None),
                };
                let (user, there) = match there.rsplit_once('@') {
                    Some((user, there)) => (format!("{user}@"), there),
                    None => (String::new(), there),
                };
                let (host, port) = host_and_port(there).ok_or_else(invalid)?;
                // A word that `ssh` would take for a flag, or a password that everybody could read.
                if format!("{user}{host}").starts_with('-') || user.contains(':') {
                    return Err(invalid());
                }
                let path = path.filter(|path| *path != "/").map(str::to_owned);
                Ok(Self::Ssh { user, host, port, path })
            }
            _ => Err(invalid()),
        }
    }
}

/// Splits `HOST[:PORT]`; the host may be in brackets.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let good = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    let port = port.map(str::parse::<u16>).transpose().ok()?;
    good.then(|| (host.to_owned(), port))
}

impl Address {
    /// Returns the port to connect to.
    pub(super) fn port(port: Option<u16>, secure: bool) -> u16 {
        port.unwrap_or(if secure { SECURE } else { PLAIN })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |host: &str, port: &Option<u16>| {
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
        };
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, secure } => {
                let scheme = match secure {
                    None => "tcp",
                    Some(true) => "https",
                    Some(false) => "http",
                };
                write!(f, "{scheme}://{}", place(host, port))
            }
            Self::Ssh { user, host, port, path } => {
                let path = path.as_deref().unwrap_or_default();
                write!(f, "ssh://{user}{}{path}", place(host, port))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_writes_them() {
        for text in [
            "unix:///run/x.sock",
            "unix://x.sock",
            "tcp://10.0.0.1:2376",
            "tcp://host",
            "https://host:1",
            "tcp://[::1]:2375",
            "ssh://host",
            "ssh://me@host:22",
            "ssh://me@[::1]:22/run/user/1000/barge/barge.sock",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let there = Address::Ssh {
            user: "me@".to_owned(),
            host: "h".to_owned(),
            port: Some(2222),
            path: Some("/a b".to_owned()),
        };
        assert_eq!("ssh://me@h:2222/a b".parse::<Address>().unwrap(), there);
        for text in [
            "",
            "host",
            "unix://",
            "tcp://",
            "tcp://:2375",
            "tcp://h:x",
            "tcp://h:70000",
            "tcp://h/x",
            "tcp://[::1",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://me:secret@h",
            "ssh://@",
            "fd://",
            "npipe:////./pipe/docker",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
