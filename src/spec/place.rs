//! Where an image is copied from or to, as in `build@ci.example.org:2222::app`.

use std::str::FromStr;

use super::reference::Reference;
use crate::error::{Error, Kind, Result};

/// A store, and an image in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlace {
    /// Whose store.
    pub store: StorePlace,
    /// The image.
    pub image: Option<String>,
}

/// Whose store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// Ours.
    Here,
    /// That of another user of this machine.
    User(String),
    /// That of a user of another machine, reached by ssh.
    Remote {
        /// `[USER@]HOST`.
        destination: String,
        /// Port, if it is not the usual one.
        port: Option<u16>,
    },
}

impl FromStr for ImagePlace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((host, image)) = text.split_once("::") else {
            check_image(text)?;
            return Ok(Self { store: StorePlace::Here, image: Some(text.to_owned()) });
        };
        let image = match image {
            "" => None,
            image => {
                check_image(image)?;
                Some(image.to_owned())
            }
        };
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid place of an image `{text}`"))
                .hint("write IMAGE, [USER@]HOST[:PORT]::[IMAGE] or USER@localhost::[IMAGE]")
        };
        let host = host.strip_prefix("ssh://").unwrap_or(host).trim_end_matches('/');
        let (user, host) = match host.split_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, host),
        };
        // What ssh could take for one of its options is no name.
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with('-')
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        };
        let (host, port) = match host.split_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| invalid())?)),
            None => (host, None),
        };
        if !is_name(host) || !user.is_none_or(is_name) {
            return Err(invalid());
        }
        let store = match (user, port) {
            (Some(user), None) if host == "localhost" => StorePlace::User(user.to_owned()),
            (Some(user), port) => {
                StorePlace::Remote { destination: format!("{user}@{host}"), port }
            }
            (None, port) => StorePlace::Remote { destination: host.to_owned(), port },
        };
        Ok(Self { store, image })
    }
}

/// Refuses what is neither a name nor an ID: it becomes a word of a command line elsewhere.
fn check_image(text: &str) -> Result<()> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    match super::id::is_hex(hex) {
        true => Ok(()),
        false => Reference::candidates(text).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_places() {
        let remote = |destination: &str, port| StorePlace::Remote {
            destination: destination.to_owned(),
            port,
        };
        let user = |name: &str| StorePlace::User(name.to_owned());
        for (text, want) in [
            ("app", Some((StorePlace::Here, Some("app")))),
            ("quay.io:443/a/app:1.2", Some((StorePlace::Here, Some("quay.io:443/a/app:1.2")))),
            ("ci::", Some((remote("ci", None), None))),
            ("me@ci::app:1", Some((remote("me@ci", None), Some("app:1")))),
            ("ssh://me@ci:2222::", Some((remote("me@ci", Some(2222)), None))),
            ("alice@localhost::app", Some((user("alice"), Some("app")))),
            ("alice@localhost:22::", Some((remote("alice@localhost", Some(22)), None))),
            ("localhost::", Some((remote("localhost", None), None))),
            ("0123abc", Some((StorePlace::Here, Some("0123abc")))),
            ("::app", None),
            ("-oProxyCommand=x::", None),
            ("a b::", None),
            ("a@-b::", None),
            ("ci:x::", None),
            ("ci::a;b", None),
            ("ci::$(x)", None),
            ("", None),
        ] {
            let got = text.parse::<ImagePlace>().ok();
            let want =
                want.map(|(store, image)| ImagePlace { store, image: image.map(str::to_owned) });
            assert_eq!(got, want, "{text}");
        }
    }
}
