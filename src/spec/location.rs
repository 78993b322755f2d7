//! Where an image is outside the store, as in `docker://quay.io/app`, `oci:DIR:TAG` or `dir:DIR`.

use std::path::PathBuf;
use std::str::FromStr;

use super::reference::Reference;
use crate::error::{Error, Kind};

/// Which image of an archive in Docker's form is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveImage {
    /// The one with this name.
    Named(Reference),
    /// The one with this number, from 0 on: `@0`.
    Numbered(usize),
}

/// A place for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A registry.
    Registry(Reference),
    /// A file in Docker's form, and the image in it.
    DockerArchive(PathBuf, Option<ArchiveImage>),
    /// A file in OCI's form, and what the image is called in it.
    OciArchive(PathBuf, Option<String>),
    /// A directory in OCI's form, and what the image is called in it.
    OciDir(PathBuf, Option<String>),
    /// A directory with the files of one image.
    Dir(PathBuf),
}

impl Location {
    /// Tells whether a word names a place that is no registry, as what is before its first colon says.
    pub fn is_no_registry(text: &str) -> bool {
        matches!(
            text.split_once(':').map(|(kind, _)| kind),
            Some(
                "docker-archive"
                    | "oci-archive"
                    | "oci"
                    | "dir"
                    | "containers-storage"
                    | "docker-daemon"
                    | "atomic"
                    | "ostree"
            )
        )
    }
}

impl FromStr for Location {
    type Err = Error;

    /// Parses a place; what names no kind of place is a registry's name.
    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((kind, rest)) = text.split_once(':') else {
            return text.parse().map(Self::Registry);
        };
        // A path ends with the first colon, as with other tools.
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name)),
            None => (rest, None),
        };
        let path_of = |path: &str| match path {
            "" => Err(Error::new(Kind::Invalid, format!("`{text}` names no path"))
                .hint(format!("write {kind}:PATH"))),
            path => Ok(PathBuf::from(path)),
        };
        let word = name.filter(|name| !name.is_empty()).map(str::to_owned);
        match kind {
            "docker" => match rest.strip_prefix("//") {
                Some(name) => name.parse().map(Self::Registry),
                None => {
                    Err(Error::new(Kind::Invalid, format!("`{text}` is no place for an image"))
                        .hint("write docker://REGISTRY/NAME"))
                }
            },
            "docker-archive" => {
                let image = word.as_deref().map(str::parse).transpose()?;
                Ok(Self::DockerArchive(path_of(path)?, image))
            }
            "oci-archive" => Ok(Self::OciArchive(path_of(path)?, word)),
            "oci" => Ok(Self::OciDir(path_of(path)?, word)),
            "dir" => Ok(Self::Dir(path_of(rest)?)),
            "containers-storage" | "docker-daemon" | "atomic" | "ostree" => {
                Err(Error::new(Kind::Unsupported, format!("unsupported place `{kind}:`"))
                    .hint("docker://, docker-archive:, oci-archive:, oci: and dir: are supported"))
            }
            _ => text.parse().map(Self::Registry),
        }
    }
}

impl FromStr for ArchiveImage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.strip_prefix('@') {
            Some(number) => number.parse().map(Self::Numbered).map_err(|_| {
                Error::new(Kind::Invalid, format!("`{text}` is no number of an image"))
                    .hint("write @0 for the first image of the archive")
            }),
            None => text.parse().map(Self::Named),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_places() {
        let name = |text: &str| text.parse::<Reference>().unwrap();
        for (text, want) in [
            ("alpine", Some(Location::Registry(name("alpine")))),
            ("localhost:5000/a", Some(Location::Registry(name("localhost:5000/a")))),
            ("docker://quay.io/a:1", Some(Location::Registry(name("quay.io/a:1")))),
            ("docker:alpine", None),
            ("docker:1.0", None),
            ("dir:/a:b", Some(Location::Dir("/a:b".into()))),
            ("dir:", None),
            ("oci:d", Some(Location::OciDir("d".into(), None))),
            ("oci:d:any name", Some(Location::OciDir("d".into(), Some("any name".to_owned())))),
            ("oci:d:", Some(Location::OciDir("d".into(), None))),
            ("oci-archive:f:t", Some(Location::OciArchive("f".into(), Some("t".to_owned())))),
            ("docker-archive:f", Some(Location::DockerArchive("f".into(), None))),
            (
                "docker-archive:f:a:1",
                Some(Location::DockerArchive("f".into(), Some(ArchiveImage::Named(name("a:1"))))),
            ),
            (
                "docker-archive:f:@2",
                Some(Location::DockerArchive("f".into(), Some(ArchiveImage::Numbered(2)))),
            ),
            ("docker-archive:f:@x", None),
            ("docker-archive:f:A B", None),
            ("docker-daemon:a:1", None),
        ] {
            assert_eq!(text.parse::<Location>().ok(), want, "{text}");
        }
    }
}
