//! What images are called by Docker's clients: a name without a registry is one of `docker.io`.

use crate::error::{Error, Kind, Result};
use crate::spec::reference::Reference;
use crate::store::Store;

/// Returns what the engine finds an image by that a client names: Docker's meaning of it comes first,
/// then what the command line finds.
pub(super) fn image(store: &Store, text: &str) -> Result<String> {
    if let Ok(name) = text.parse::<Reference>() {
        let name = name.to_string();
        if store.images().find_named(&name)?.is_some() {
            return Ok(name);
        }
    }
    Ok(text.to_owned())
}

/// Completes the name that an image is to have or to be pulled by; the tag is given beside it, or not.
///
/// A tag that is a digest is one: clients split names at the last mark.
pub(super) fn complete(repository: &str, tag: Option<&str>) -> Result<Reference> {
    let name: Reference = repository.parse()?;
    match tag {
        None => Ok(name),
        Some(_) if name.digest().is_some() => Ok(name),
        Some(tag) if tag.contains(':') => format!("{}@{tag}", name.repository()).parse(),
        Some(tag) => name.with_tag(tag),
    }
}

/// Tells whether a name says which of a repository's images is meant.
pub(super) fn has_tag(text: &str) -> bool {
    text.rsplit('/').next().is_some_and(|last| last.contains([':', '@']))
}

/// Says in Docker's words that there is no such image.
pub(super) fn unknown(text: &str, error: Error) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    let shown = match text.parse::<Reference>() {
        Ok(name) => name.familiar(),
        Err(_) => text.to_owned(),
    };
    Error::new(Kind::NotFound, format!("No such image: {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_names_as_docker_does() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (repository, tag, want) in [
            ("alpine", None, "docker.io/library/alpine:latest".to_owned()),
            ("alpine", Some("3"), "docker.io/library/alpine:3".to_owned()),
            ("alpine:2", Some("3"), "docker.io/library/alpine:3".to_owned()),
            ("localhost:5000/x", Some("1"), "localhost:5000/x:1".to_owned()),
            ("x", Some(&digest), format!("docker.io/library/x@{digest}")),
            (&format!("x@{digest}"), Some("1"), format!("docker.io/library/x@{digest}")),
        ] {
            assert_eq!(
                complete(repository, tag).unwrap().to_string(),
                want,
                "{repository} {tag:?}"
            );
        }
        for (repository, tag) in [("", None), ("UPPER", None), ("x", Some("a b"))] {
            assert!(complete(repository, tag).is_err(), "{repository} {tag:?}");
        }
        assert!(has_tag("localhost:5000/x:1") && !has_tag("localhost:5000/x"));
    }

    #[test]
    fn says_what_docker_says() {
        let error = unknown("nosuch", Error::new(Kind::NotFound, "x"));
        assert_eq!(error.to_string(), "No such image: nosuch:latest");
    }
}
