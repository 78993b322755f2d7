//! Flags of `barge build` that have a grammar of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::build::{Attestations, NamedContext, OnFailure, Provenance, Secret};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::oci::{Annotation, Annotations};
use crate::spec::platform::Platform;

/// Reads annotations, of the manifest and of the list: `[manifest:|index:]NAME=VALUE`.
pub(super) fn annotations(words: &[String]) -> Result<(Annotations, Annotations)> {
    let (mut manifest, mut index) = (Annotations::new(), Annotations::new());
    for text in words {
        let (levels, rest) = match text.split_once(':') {
            Some((levels, rest)) if levels.split(',').all(is_level) => (levels, rest),
            _ => ("manifest", text.as_str()),
        };
        // One without a value is empty, as Podman has it.
        let rest = if rest.contains('=') { rest.to_owned() } else { format!("{rest}=") };
        let annotation: Annotation = rest.parse()?;
        for level in levels.split(',') {
            let into = if level.starts_with("manifest") && !level.contains("descriptor") {
                &mut manifest
            } else {
                &mut index
            };
            into.insert(annotation.name.clone(), annotation.value.clone());
        }
    }
    Ok((manifest, index))
}

/// Reads which documents go with the result.
pub(super) fn attestations(
    provenance: Option<&str>,
    sbom: Option<&str>,
    others: &[String],
) -> Result<Attestations> {
    let mut wanted = Attestations::default();
    let mut asked: Vec<String> = others.to_vec();
    asked.extend(provenance.map(|text| format!("type=provenance,{text}")));
    asked.extend(sbom.map(|text| format!("type=sbom,{text}")));
    for text in &asked {
        let invalid = |why: &str| {
            Error::new(Kind::Invalid, format!("invalid attestation `{text}`: {why}"))
                .hint("write type=sbom or type=provenance[,mode=min|max]")
        };
        let (mut kind, mut is_off, mut mode) = ("", false, Provenance::Min);
        for field in text.split(',') {
            match field.split_once('=').unwrap_or((field, "")) {
                ("type", value) => kind = value,
                ("mode", "min") => mode = Provenance::Min,
                ("mode", "max") => mode = Provenance::Max,
                ("disabled", value) => is_off = value != "false",
                ("false" | "0", "") => is_off = true,
                // Only we make them, and in one version.
                ("true" | "1", "")
                | ("generator" | "version" | "builder-id" | "reproducible", _) => {}
                (key, _) => return Err(invalid(&format!("unknown attribute `{key}`"))),
            }
        }
        match kind {
            "provenance" => wanted.provenance = (!is_off).then_some(mode),
            "sbom" => wanted.sbom = !is_off,
            "" => return Err(invalid("type is required")),
            other => return Err(invalid(&format!("unknown type `{other}`"))),
        }
    }
    Ok(wanted)
}

/// What an annotation can be of, perhaps with a platform.
fn is_level(text: &str) -> bool {
    let word = text.split('[').next().unwrap_or_default();
    matches!(word, "manifest" | "index" | "manifest-descriptor" | "index-descriptor")
}

pub(super) fn pairs(words: &[String]) -> impl Iterator<Item = (String, String)> {
    words.iter().map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    })
}

pub(super) fn build_args(words: &[String]) -> BTreeMap<String, String> {
    let value = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        // One without a value is taken over, if it is set.
        None => Some((text.clone(), std::env::var(text).ok()?)),
    };
    words.iter().filter_map(value).collect()
}

pub(super) fn contexts(words: &[String]) -> Result<BTreeMap<String, NamedContext>> {
    let parse = |text: &String| {
        let (name, place) = text.split_once('=').ok_or_else(|| {
            Error::new(Kind::Invalid, format!("invalid build context `{text}`"))
                .hint("write NAME=DIRECTORY or NAME=docker-image://IMAGE")
        })?;
        let image = ["docker-image://", "container-image://", "docker://"]
            .iter()
            .find_map(|prefix| place.strip_prefix(prefix));
        let context = match image {
            Some(image) => NamedContext::Image(image.to_owned()),
            None => {
                let path = std::fs::canonicalize(place)
                    .context(|| format!("cannot use build context `{name}`: {place}"))?;
                if !path.is_dir() {
                    let message = format!("build context `{name}` is no directory: {place}");
                    return Err(Error::new(Kind::Invalid, message));
                }
                NamedContext::Directory(path)
            }
        };
        Ok((name.to_owned(), context))
    };
    words.iter().map(parse).collect()
}

pub(super) fn secrets(words: &[String]) -> Result<BTreeMap<String, Secret>> {
    let parse = |text: &String| {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid secret `{text}`"))
                .hint("write id=NAME,src=FILE or id=NAME,env=VARIABLE")
        };
        let (mut id, mut file, mut variable, mut is_env) = (None, None, None, false);
        for field in text.split(',') {
            match field.split_once('=').ok_or_else(invalid)? {
                ("id", value) => id = Some(value.to_owned()),
                ("src" | "source", value) => file = Some(value.to_owned()),
                ("env", value) => variable = Some(value.to_owned()),
                ("type", "env") => is_env = true,
                ("type", "file") => {}
                _ => return Err(invalid()),
            }
        }
        let id = id.filter(|id| !id.is_empty()).ok_or_else(invalid)?;
        let secret = match (file, variable) {
            (Some(name), None) if is_env => Secret::Variable(name),
            (None, Some(name)) => Secret::Variable(name),
            (Some(path), None) => {
                let path = PathBuf::from(path);
                std::fs::metadata(&path)
                    .context(|| format!("cannot read secret `{id}` from {}", path.display()))?;
                Secret::File(path)
            }
            (None, None) if std::env::var_os(&id).is_some() => Secret::Variable(id.clone()),
            (None, None) => Secret::File(PathBuf::from(&id)),
            _ => return Err(invalid()),
        };
        Ok((id, secret))
    };
    words.iter().map(parse).collect()
}

/// Finds out for which platforms it is built, of which all may be named, or parts of one.
pub(super) fn platforms(named: Vec<Platform>, parts: [Option<&str>; 3]) -> Vec<Platform> {
    let [os, architecture, variant] = parts.map(|part| part.map(str::to_owned));
    if os.is_none() && architecture.is_none() && variant.is_none() {
        return named;
    }
    let host = Platform::host();
    vec![Platform {
        os: os.unwrap_or(host.os),
        // Another processor has variants of its own.
        variant: variant.or(host.variant.filter(|_| architecture.is_none())),
        architecture: architecture.unwrap_or(host.architecture),
    }]
}

/// Finds out what is run where a command fails.
pub(super) fn on_failure(shell: bool, line: Option<&str>) -> Result<Option<OnFailure>> {
    let shell = shell || line == Some("on-error");
    let line = line.filter(|line| *line != "on-error");
    let terminal =
        [rustix::stdio::stdin(), rustix::stdio::stdout()].iter().all(rustix::termios::isatty);
    match line {
        Some("") => Err(Error::new(Kind::Invalid, "the command of --invoke is empty")),
        None if !shell => Ok(None),
        None if !terminal => {
            Err(Error::new(Kind::Invalid, "there is no terminal for a shell where the build fails")
                .hint("name a command that needs none by --invoke"))
        }
        _ => Ok(Some(OnFailure { line: line.map(str::to_owned), terminal })),
    }
}

pub(super) fn agents(words: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let parse = |text: &String| {
        let (name, socket) = match text.split_once('=') {
            Some((name, socket)) => (name, Some(PathBuf::from(socket))),
            None => (text.as_str(), None),
        };
        let socket = socket
            .or_else(|| std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from))
            .ok_or_else(|| {
                Error::new(
                    Kind::Invalid,
                    format!("no SSH agent for `{name}`: SSH_AUTH_SOCK is not set"),
                )
                .hint("start ssh-agent, or write NAME=SOCKET")
            })?;
        std::fs::metadata(&socket)
            .context(|| format!("cannot use SSH agent {}", socket.display()))?;
        Ok((name.to_owned(), socket))
    };
    words.iter().map(parse).collect()
}
