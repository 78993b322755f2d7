//! Caches that a client keeps in directories of its own: `type=local`.
//!
//! The client opens such a directory to us as a store of blobs, and looks after its `index.json` itself.
//! Here, what is taken from it is an OCI layout as long as the build goes on, and so is what the build
//! leaves, before the client gets of it what it has not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::builds::Build;
use super::session::Session;
use super::worker::CacheEntry;
use crate::build::NO_CACHE_OF_OURS;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::Digest;
use crate::spec::oci::{Descriptor, Index, Manifest};

/// The kind.
const LOCAL: &str = "local";

/// The attribute of a build in which clients name caches, too.
const IMPORTS: &str = "cache-imports";

/// Bytes of the largest manifest that is taken.
const LARGEST: u64 = 4 << 20;

/// All caches of a build besides the builder's own, where its process finds them.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// Where steps are taken from.
    pub(super) from: Vec<CacheEntry>,
    /// Where steps are kept.
    pub(super) to: Vec<CacheEntry>,
    /// What goes to the client: its store, and the layout.
    leaving: Vec<(String, PathBuf)>,
}

impl Caches {
    /// Finds out which there are, and gets those that the client has; `place` is for all of them.
    pub(super) async fn gather(
        build: &Build,
        attributes: &mut BTreeMap<String, String>,
        session: &Session,
        place: &Path,
    ) -> Result<Self> {
        let mut caches = Self::default();
        for (number, entry) in imports(build, attributes)?.into_iter().enumerate() {
            if entry.kind != LOCAL {
                caches.from.push(entry);
                continue;
            }
            let path = place.join(format!("cache-from{number}"));
            let shown = format!("importing cache manifest from {}", entry.store("src"));
            let key = format!("{} {shown}", build.reference);
            build.progress.begin(&key, &shown);
            let fetched = fetch(session, &entry, &path).await;
            build.progress.end(&key, false, fetched.as_ref().err().map(ToString::to_string));
            // A build goes on without it, as with BuildKit: the first one of all has none.
            if fetched.is_ok() {
                caches.from.push(entry.at("src", &path));
            }
        }
        for (number, place_of) in build.cache.exports.iter().enumerate() {
            let entry = CacheEntry::from(place_of);
            if entry.kind != LOCAL {
                caches.to.push(entry);
                continue;
            }
            let path = place.join(format!("cache-to{number}"));
            caches.to.push(entry.at("dest", &path));
            caches.leaving.push((entry.store("dest"), path));
        }
        Ok(caches)
    }

    /// Gives the client what is its own; returns what it writes into its index.
    pub(super) async fn give(&self, build: &Build, session: &Session) -> Result<Option<String>> {
        let mut last = None;
        for (store, path) in &self.leaving {
            // A build without steps leaves nothing.
            let Some(manifest) = kept(path)? else { continue };
            let key = format!("{} exporting cache to {store}", build.reference);
            build.progress.begin(&key, "exporting cache to client directory");
            let given = give(session, store, &build.reference, path).await;
            build.progress.end(&key, false, given.as_ref().err().map(ToString::to_string));
            given?;
            last = Some(serde_json::to_string(&manifest).context(|| "cannot encode a descriptor")?);
        }
        Ok(last)
    }
}

impl CacheEntry {
    /// What the client calls the store of its directory.
    fn store(&self, attribute: &str) -> String {
        let path = self.attributes.get(attribute).map_or("", String::as_str);
        format!("{LOCAL}:{path}")
    }

    /// The same, in a directory of ours.
    fn at(&self, attribute: &str, path: &Path) -> Self {
        let mut entry = self.clone();
        // These are about the client's directory.
        for name in ["src", "dest", "digest", "tag", "reset"] {
            entry.attributes.remove(name);
        }
        entry.attributes.insert(attribute.to_owned(), path.display().to_string());
        entry
    }
}

/// Returns where steps are taken from: clients say it at two places, or at one.
fn imports(build: &Build, attributes: &mut BTreeMap<String, String>) -> Result<Vec<CacheEntry>> {
    let mut all: Vec<CacheEntry> = match attributes.remove(IMPORTS).filter(|it| !it.is_empty()) {
        None => Vec::new(),
        Some(text) => serde_json::from_str(&text).map_err(|error| {
            Error::new(Kind::Invalid, format!("invalid value of the build's `{IMPORTS}`"))
                .caused_by(error)
        })?,
    };
    for entry in build.cache.imports.iter().map(CacheEntry::from) {
        if !all.contains(&entry) {
            all.push(entry);
        }
    }
    Ok(all)
}

/// Gets a cache from the client.
async fn fetch(session: &Session, entry: &CacheEntry, path: &Path) -> Result<()> {
    let context = || format!("cannot create {}", path.display());
    let digest: Digest = entry.attributes.get("digest").map_or("", String::as_str).parse()?;
    let blobs = session.blobs(&entry.store("src"))?;
    let directory = path.join("blobs/sha256");
    fs::create_dir_all(&directory).context(context)?;
    let place = |digest: &Digest| directory.join(digest.hex());
    let file = |digest: &Digest| {
        let path = place(digest);
        File::create_new(&path).context(|| format!("cannot create {}", path.display()))
    };
    let size = blobs.read(&digest, file(&digest)?).await?;
    if size > LARGEST {
        return Err(Error::new(Kind::Invalid, format!("the manifest {digest} is too large")));
    }
    let text = fs::read(place(&digest)).context(|| format!("cannot read {digest}"))?;
    // BuildKit's own is an index, or has a configuration of its own type: it is large, and no use.
    let manifest = serde_json::from_slice::<Manifest>(&text).ok().filter(Manifest::is_image);
    let manifest = manifest.ok_or_else(|| Error::new(Kind::Unsupported, NO_CACHE_OF_OURS))?;
    for blob in manifest.blobs() {
        // A layer may be there twice.
        if !place(&blob.digest).exists() {
            blobs.read(&blob.digest, file(&blob.digest)?).await?;
        }
    }
    let index = Index {
        manifests: vec![Descriptor::new(&manifest.media_type, digest, size)],
        ..Index::default()
    };
    let index = serde_json::to_vec(&index).context(|| "cannot encode an index")?;
    for (name, text) in
        [("oci-layout", &br#"{"imageLayoutVersion":"1.0.0"}"#[..]), ("index.json", &index)]
    {
        fs::write(path.join(name), text).context(context)?;
    }
    Ok(())
}

/// Returns what a build has kept in a layout.
fn kept(path: &Path) -> Result<Option<Descriptor>> {
    let path = path.join("index.json");
    let context = || format!("cannot read {}", path.display());
    let text = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.context(context)?,
    };
    let index: Index = serde_json::from_slice(&text).context(context)?;
    Ok(index.manifests.into_iter().next())
}

/// Gives all blobs of a layout to the client.
async fn give(session: &Session, store: &str, reference: &str, path: &Path) -> Result<()> {
    let directory = path.join("blobs/sha256");
    let context = || format!("cannot list {}", directory.display());
    let blobs = session.blobs(store)?;
    for entry in fs::read_dir(&directory).context(context)? {
        let entry = entry.context(context)?;
        let digest = Digest::from_hex(&entry.file_name().to_string_lossy())?;
        blobs.write(&digest, &format!("{reference}-{}", digest.hex()), &entry.path()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::message::control::{CachePlace, SolveRequest};
    use super::*;

    #[test]
    fn no_path_of_a_client_is_one_here() {
        let attributes = ["src", "dest", "digest", "tag", "mode"];
        let attributes = attributes.map(|name| (name.to_owned(), "/etc".to_owned())).into();
        let entry = CacheEntry { kind: LOCAL.to_owned(), attributes };
        assert_eq!(entry.store("src"), "local:/etc");
        let own = entry.at("src", Path::new("/draft"));
        let pairs: Vec<_> = own.attributes.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(pairs, [("mode", "/etc"), ("src", "/draft")]);
    }

    #[test]
    fn what_is_said_twice_is_there_once() {
        let entry = |name: &str| CachePlace {
            kind: "registry".to_owned(),
            attributes: [("ref".to_owned(), name.to_owned())].into(),
        };
        let mut build = Build::new(&SolveRequest::default(), Vec::new());
        build.cache.imports = vec![entry("a"), entry("b")];
        let text = r#"[{"Type":"registry","Attrs":{"ref":"b"}}]"#;
        let mut attributes = BTreeMap::from([(IMPORTS.to_owned(), text.to_owned())]);
        let found = imports(&build, &mut attributes).unwrap();
        let names: Vec<_> = found.iter().map(|it| it.attributes["ref"].as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert!(attributes.is_empty());
        attributes.insert(IMPORTS.to_owned(), "{".to_owned());
        assert!(imports(&build, &mut attributes).is_err());
    }
}
