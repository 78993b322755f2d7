//! Where something is copied from or to: `CONTAINER:PATH`, a path of this machine, or `-`.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyPlace {
    /// A file or directory in a container.
    Container {
        /// Name or ID.
        name: String,
        /// Path, from the working directory if it is relative.
        path: String,
    },
    /// A file or directory of this machine.
    Host(PathBuf),
    /// An archive on standard input or output.
    Stream,
}

impl FromStr for CopyPlace {
    type Err = Error;

    /// Parses one side. What begins with a slash or a dot is of this machine, whatever colons it has.
    fn from_str(text: &str) -> Result<Self> {
        if text == "-" {
            return Ok(Self::Stream);
        }
        let invalid = |what: &str| {
            Error::new(Kind::Invalid, format!("invalid argument \"{text}\": {what}"))
                .hint("write CONTAINER:PATH, PATH, or - for an archive")
        };
        if text.is_empty() {
            return Err(invalid("it names no path"));
        }
        match text.split_once(':') {
            Some((name, path)) if !text.starts_with(['/', '.']) => match (name, path) {
                ("", _) => Err(invalid("it names no container")),
                (_, "") => Err(invalid("it names no path in the container")),
                (name, path) if path.contains('\0') => Err(invalid(name)),
                (name, path) => {
                    Ok(Self::Container { name: name.to_owned(), path: path.to_owned() })
                }
            },
            _ => Ok(Self::Host(PathBuf::from(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_places() {
        for (text, want) in [
            ("-", Some("stream")),
            ("c:/etc", Some("c /etc")),
            ("c:etc:x", Some("c etc:x")),
            ("/a:b", Some("host /a:b")),
            ("./a:b", Some("host ./a:b")),
            ("a", Some("host a")),
            ("c:", None),
            (":/x", None),
            ("", None),
        ] {
            let got = text.parse().ok().map(|place| match place {
                CopyPlace::Stream => "stream".to_owned(),
                CopyPlace::Container { name, path } => format!("{name} {path}"),
                CopyPlace::Host(path) => format!("host {}", path.display()),
            });
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
