//! Files of an artifact, back to where the user wants them.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::oci::{Descriptor, Manifest, TITLE};
use crate::store::Store;

/// Which file of an artifact is wanted.
#[derive(Clone, Debug, Default)]
pub enum Choice {
    /// All of them.
    #[default]
    All,
    /// The one with this digest.
    Digest(String),
    /// The one with this name.
    Title(String),
}

/// Writes files of an artifact into a directory, or one of them to a file; what is there is replaced.
pub fn extract(store: &Store, manifest: &Manifest, target: &Path, choice: &Choice) -> Result<()> {
    if manifest.layers.is_empty() {
        return Err(Error::new(Kind::Invalid, "the artifact has no blobs, nothing to extract"));
    }
    for (layer, path) in places(manifest, target, target.is_dir(), choice)? {
        write(store, layer, &path)
            .context(|| format!("cannot extract {} to {}", layer.digest, path.display()))?;
    }
    Ok(())
}

/// Decides which files of an artifact go where: each below the target if that is a directory, else one
/// in its place.
pub(crate) fn places<'a>(
    manifest: &'a Manifest,
    target: &Path,
    is_directory: bool,
    choice: &Choice,
) -> Result<Vec<(&'a Descriptor, PathBuf)>> {
    let title = |layer: &'a Descriptor| layer.annotations.get(TITLE);
    let chosen: Vec<&Descriptor> = match choice {
        Choice::All => manifest.layers.iter().collect(),
        Choice::Digest(digest) => {
            let matches = |layer: &&Descriptor| layer.digest.as_str() == digest;
            vec![only(manifest.layers.iter().filter(matches), &format!("the digest \"{digest}\""))?]
        }
        Choice::Title(wanted) => {
            let matches = |layer: &&'a Descriptor| title(layer) == Some(wanted);
            vec![only(manifest.layers.iter().filter(matches), &format!("the title \"{wanted}\""))?]
        }
    };
    if !is_directory {
        return match chosen.as_slice() {
            [one] => Ok(vec![(*one, target.to_owned())]),
            _ => Err(Error::new(
                Kind::Invalid,
                format!(
                    "the artifact consists of several blobs and the target \"{}\" is not a directory and neither digest or title was specified to only copy a single blob",
                    target.display()
                ),
            )),
        };
    }
    let mut names = HashSet::new();
    let mut places = Vec::new();
    for layer in chosen {
        // What was chosen by its digest is called by it.
        let name = match (choice, title(layer)) {
            (Choice::All | Choice::Title(_), Some(title)) if !title.is_empty() => title.clone(),
            _ => layer.digest.as_str().replace(':', "-"),
        };
        check(&name)?;
        if !names.insert(name.clone()) {
            return Err(Error::new(
                Kind::Invalid,
                format!("the artifact has several files with the name \"{name}\""),
            )
            .hint("extract them one by one, by --digest"));
        }
        places.push((layer, target.join(name)));
    }
    Ok(places)
}

fn only<'a>(
    mut matches: impl Iterator<Item = &'a Descriptor>,
    what: &str,
) -> Result<&'a Descriptor> {
    match (matches.next(), matches.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Error::new(Kind::NotFound, format!("no blob with {what}"))),
        (Some(_), Some(_)) => {
            Err(Error::new(Kind::Invalid, format!("more than one match for {what}")))
        }
    }
}

/// Refuses names that lead out of the directory: artifacts come from strangers.
fn check(name: &str) -> Result<()> {
    let why = if name.contains('/') {
        "cannot contain /"
    } else if matches!(name, "." | "..") || name.contains('\0') {
        "is no file name"
    } else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Invalid,
        format!("invalid name: {name:?} {why}: artifact blob title invalid"),
    )
    .hint("name the file where it shall be written, and choose it by --digest"))
}

fn write(store: &Store, layer: &Descriptor, path: &Path) -> Result<()> {
    let missing = || {
        Error::new(Kind::NotFound, format!("blob {} is missing", layer.digest))
            .hint("pull the artifact again")
    };
    let mut blob = store.blobs().open(&layer.digest)?.ok_or_else(missing)?;
    let mut file = File::create(path).context(|| "cannot create the file")?;
    // Shares the blocks where the file system can.
    io::copy(&mut blob, &mut file).context(|| "cannot write the file").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(titles: &[Option<&str>]) -> Manifest {
        let layers: Vec<String> = titles
            .iter()
            .enumerate()
            .map(|(number, title)| {
                let digest = number.to_string().repeat(64);
                let annotations = title.map_or(String::new(), |title| {
                    format!(r#","annotations":{{"{TITLE}":{}}}"#, serde_json::json!(title))
                });
                format!(r#"{{"digest":"sha256:{digest}","size":1{annotations}}}"#)
            })
            .collect();
        let config = format!(r#"{{"digest":"sha256:{}","size":2}}"#, "f".repeat(64));
        let text =
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn names_lead_nowhere_else() {
        let zero = format!("sha256-{}", "0".repeat(64));
        let long = format!("sha256:{}", "0".repeat(64));
        let all = || Choice::All;
        let title = |title: &str| Choice::Title(title.to_owned());
        let digest = || Choice::Digest(long.clone());
        for (titles, is_directory, choice, want) in [
            (&[Some("a"), Some("b")][..], true, all(), Some(vec!["/t/a", "/t/b"])),
            (&[Some("a")], false, all(), Some(vec!["/t"])),
            (&[Some("../a")], false, all(), Some(vec!["/t"])),
            (&[Some("a"), Some("b")], false, all(), None),
            (&[Some("a"), Some("b")], false, title("b"), Some(vec!["/t"])),
            (&[Some("a"), Some("b")], true, title("b"), Some(vec!["/t/b"])),
            (&[Some("a"), Some("b")], true, title("c"), None),
            (&[Some("a"), Some("a")], true, title("a"), None),
            (&[Some("a"), Some("a")], true, all(), None),
            (&[Some("a"), Some("b")], true, digest(), Some(vec![&*format!("/t/{zero}")])),
            (&[None], true, all(), Some(vec![&*format!("/t/{zero}")])),
            (&[Some("")], true, all(), Some(vec![&*format!("/t/{zero}")])),
            (&[Some("../a")], true, all(), None),
            (&[Some("..")], true, all(), None),
            (&[Some(".")], true, all(), None),
            (&[Some("/etc/passwd")], true, all(), None),
            (&[Some("a\0b")], true, all(), None),
            (&[Some("..a")], true, all(), Some(vec!["/t/..a"])),
        ] {
            let manifest = manifest(titles);
            let got = places(&manifest, Path::new("/t"), is_directory, &choice).ok();
            let got =
                got.map(|places| places.into_iter().map(|(_, path)| path).collect::<Vec<_>>());
            let want = want.map(|paths| paths.into_iter().map(PathBuf::from).collect());
            assert_eq!(got, want, "{titles:?} {choice:?}");
        }
    }
}
