//! Images that need no registry: `builtin/hello` and `builtin/host`.
//!
//! They are ordinary records with one small layer that is made here, the same each time. What else
//! their root file systems have, the engine adds when it mounts them: our own executable as `/hello`,
//! or this machine's directories below a copy-on-write layer.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use super::ingest::{Expected, layer};
use super::record::{Origin, disturbed, record};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::{DiffId, ImageId};
use crate::spec::image::{HistoryStep, ImageConfig, RootFs, RunConfig};
use crate::spec::platform::Platform;
use crate::spec::reference::{BUILTIN_REGISTRY, Reference};
use crate::store::Store;
use crate::store::blob::digest_of;
use crate::store::container::Builtin;
use crate::store::garbage::Parts;
use crate::store::image::Image;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Directories that every root file system needs as mount points.
const MOUNT_POINTS: [&str; 6] = ["dev", "etc", "proc", "run", "sys", "tmp"];
/// Directories of a host that are there even if this one has them not.
const HOST_DIRECTORIES: [&str; 8] = ["home", "media", "mnt", "opt", "root", "srv", "usr", "var"];
/// The label that tells a built-in image.
const LABEL: &str = "io.barge.builtin";

/// Returns a built-in image, made if it is not here yet; `None` if the name is of another kind.
pub fn ensure(store: &Store, name: &str) -> Result<Option<(Image, Reference)>> {
    let Some(path) = name.strip_prefix(BUILTIN_REGISTRY).and_then(|rest| rest.strip_prefix('/'))
    else {
        return Ok(None);
    };
    let reference: Reference = name.parse()?;
    let (kind, archive, run) = match reference.path() {
        "hello" => (Builtin::Hello, hello()?, run_config("hello", "/hello")),
        "host" => (Builtin::Host, host()?, run_config("host", "/bin/sh")),
        _ => {
            return Err(Error::new(Kind::NotFound, format!("there is no built-in image `{path}`"))
                .hint("the built-in images are builtin/hello and builtin/host"));
        }
    };
    if reference.tag() != Some("latest") || reference.digest().is_some() {
        return Err(Error::new(Kind::NotFound, format!("there is no built-in image `{path}`"))
            .hint("built-in images have no versions; leave out tag and digest"));
    }
    let platform = Platform::host();
    let config = ImageConfig {
        // Nothing that changes from one time to the next.
        created: None,
        author: None,
        architecture: platform.architecture,
        variant: None,
        os: platform.os,
        config: run,
        rootfs: RootFs { diff_ids: vec![DiffId(digest_of(&archive))], ..RootFs::default() },
        history: vec![HistoryStep {
            created_by: Some("barge".to_owned()),
            ..HistoryStep::default()
        }],
    };
    let config = serde_json::to_vec(&config).context(|| "cannot write the configuration")?;
    let id = ImageId(digest_of(&config));
    if let Some(image) = store.images().named(&reference)?
        && image.id == id
    {
        return Ok(Some((image, reference)));
    }
    let expected = Expected { blob: None, diff_id: None };
    let ingested = layer(store, archive.as_slice(), &expected, |_| {})
        .context(|| format!("cannot make {reference}"))?;
    let _pin = store.pin(&Parts::of(&[ingested.diff_id], []))?;
    store.publish_soon(ingested.finished)?;
    let origin = Origin { builtin: Some(kind), ..Origin::default() };
    let image =
        record(store, &config, origin, std::slice::from_ref(&reference))?.ok_or_else(disturbed)?;
    Ok(Some((image, reference)))
}

fn run_config(label: &str, command: &str) -> RunConfig {
    RunConfig {
        env: vec![PATH.to_owned()],
        cmd: Some(vec![command.to_owned()]),
        labels: BTreeMap::from([(LABEL.to_owned(), label.to_owned())]),
        ..RunConfig::default()
    }
}

/// Makes the layer of `builtin/hello`: mount points, and a file that our executable is mounted over.
fn hello() -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for name in MOUNT_POINTS {
        archive.directory(name.as_bytes(), mode_of(name))?;
    }
    archive.entry(b"hello", tar::EntryType::Regular, 0o755, None)?;
    archive.finish()
}

/// Makes the layer of `builtin/host`: the directories and links that this machine has at the top.
fn host() -> Result<Vec<u8>> {
    let context = || "cannot list /";
    let mut names: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for name in MOUNT_POINTS.iter().chain(&HOST_DIRECTORIES) {
        names.insert(name.as_bytes().to_vec(), None);
    }
    for entry in fs::read_dir("/").context(context)? {
        let entry = entry.context(context)?;
        let kind = entry.file_type().context(context)?;
        let name = entry.file_name();
        if kind.is_dir() {
            // What only file systems have, or what is barge's or another tool's own.
            if name != "lost+found" && !name.as_bytes().starts_with(b".") {
                names.insert(name.as_bytes().to_vec(), None);
            }
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).context(context)?;
            names.insert(name.as_bytes().to_vec(), Some(target.as_os_str().as_bytes().to_vec()));
        }
    }
    let mut archive = Archive::new();
    for (name, target) in names {
        match target {
            Some(target) => archive.entry(&name, tar::EntryType::Symlink, 0o777, Some(&target))?,
            None => archive.directory(&name, mode_of(&String::from_utf8_lossy(&name)))?,
        }
    }
    archive.finish()
}

fn mode_of(name: &str) -> u32 {
    match name {
        "tmp" => 0o1777,
        "root" => 0o700,
        "proc" | "sys" => 0o555,
        _ => 0o755,
    }
}

/// An archive of empty things, the same bytes for the same things.
struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn directory(&mut self, name: &[u8], mode: u32) -> Result<()> {
        self.entry(name, tar::EntryType::Directory, mode, None)
    }

    fn entry(
        &mut self,
        name: &[u8],
        kind: tar::EntryType,
        mode: u32,
        target: Option<&[u8]>,
    ) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        let name = std::path::Path::new(std::ffi::OsStr::from_bytes(name));
        match target {
            Some(target) => {
                let target = std::path::Path::new(std::ffi::OsStr::from_bytes(target));
                self.0.append_link(&mut header, name, target)
            }
            None => self.0.append_data(&mut header, name, io::empty()),
        }
        .context(|| format!("cannot pack `{}`", name.display()))
    }

    fn finish(self) -> Result<Vec<u8>> {
        self.0.into_inner().context(|| "cannot pack the layer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_the_same_image_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        for (name, builtin) in
            [("builtin/hello", Builtin::Hello), ("builtin/host:latest", Builtin::Host)]
        {
            let (first, reference) = ensure(&store, name).unwrap().unwrap();
            let (second, _) = ensure(&store, name).unwrap().unwrap();
            assert_eq!(first, second);
            assert_eq!(first.builtin, Some(builtin));
            assert_eq!(store.images().find(name).unwrap(), Some(first.clone()));
            assert_eq!(reference.registry(), "builtin");
            let layer = store.layers().path(&first.layers[0]);
            assert!(layer.join("proc").is_dir());
        }
        assert_eq!(store.images().count().unwrap(), 2);
        assert!(ensure(&store, "hello").unwrap().is_none());
        assert!(ensure(&store, "builtin").unwrap().is_none());
        assert!(ensure(&store, "builtin/other").is_err());
        assert!(ensure(&store, "builtin/hello:1").is_err());
    }
}
