//! Image records, and the names that lead to them.
//!
//! `images/HEX.json` says what an image is; `refs/REPOSITORY/TAG -> HEX` are its names, the slashes of
//! the repository written as `%`. A name is a link of its own, so a look-up reads two files, takes no
//! lock, and tagging changes one link. Writers hold `images.lock`, for milliseconds.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::container::Builtin;
use super::lock::Lock;
use super::{Store, file, registries};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::{DiffId, Digest, ImageId};
use crate::spec::id::is_hex;
use crate::spec::image::{ImageConfig, RunConfig};
use crate::spec::manifest::ManifestFormat;
use crate::spec::oci::Annotations;
use crate::spec::reference::Reference;

/// Fewer digits are no ID: `cafe` may be one, `a` is a name that was not found.
pub(super) const MIN_PREFIX: usize = 3;

/// An image: what a container needs to know of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// The digest of its configuration.
    pub id: ImageId,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
    /// What it wants to be run with.
    pub config: RunConfig,
    /// Processor, in Go's words, as in `amd64`.
    pub architecture: String,
    /// Variant of the processor, as in `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system.
    pub os: String,
    /// When it was made, in nanoseconds since 1970; 0 if that is unknown.
    pub created: i64,
    /// Bytes of its files.
    pub size: u64,
    /// Digest of the manifest that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<Digest>,
    /// All its blobs: configuration, manifests, compressed layers.
    #[serde(default)]
    pub blobs: Vec<Digest>,
    /// What the root file system is made of besides layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
    /// The form that its manifest is to have, if it was made here and that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ManifestFormat>,
    /// What that manifest is to say besides.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

impl Image {
    /// Tells whether it is a manifest list that is shown as an image: an image has its configuration at
    /// least.
    pub fn is_list(&self) -> bool {
        self.blobs.is_empty()
    }
}

/// An image together with its names.
#[derive(Clone, Debug)]
pub struct NamedImage {
    /// The image.
    pub image: Image,
    /// Its names with tags, sorted.
    pub names: Vec<Reference>,
    /// Its names with digests, sorted.
    pub digests: Vec<Reference>,
}

/// The names of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Those with tags, sorted.
    pub tags: Vec<Reference>,
    /// Those with digests, sorted.
    pub digests: Vec<Reference>,
}

/// An image whose record cannot be read.
#[derive(Debug)]
pub struct Damaged {
    /// Its ID.
    pub id: ImageId,
    /// What is wrong.
    pub error: Error,
}

/// What the removal of an image or a name did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// A name leads nowhere now.
    Untagged(Reference),
    /// An image is gone.
    Deleted(ImageId),
}

/// All images of a store.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    store: &'a Store,
}

impl<'a> Images<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    fn record(&self, id: &ImageId) -> PathBuf {
        self.store.root.join("images").join(format!("{}.json", id.hex()))
    }

    fn refs(&self) -> PathBuf {
        self.store.root.join("refs")
    }

    fn link(&self, name: &Reference) -> PathBuf {
        self.refs().join(name.repository().replace('/', "%")).join(name.tag_or_digest())
    }

    pub(super) fn lock(&self) -> Result<Lock> {
        Lock::exclusive(&self.store.root.join("images.lock"))
    }

    /// Reads an image; `None` if there is none with this ID.
    pub fn get(&self, id: &ImageId) -> Result<Option<Image>> {
        file::read_json(&self.record(id)).map_err(|error| match error.kind() {
            Kind::Invalid => error.hint(format!(
                "pull or load the image again, or remove it: barge rmi {}",
                id.short()
            )),
            _ => error,
        })
    }

    /// Reads the image that a complete name leads to.
    pub fn named(&self, name: &Reference) -> Result<Option<Image>> {
        match self.target(name)? {
            Some(id) => self.get(&id),
            None => Ok(None),
        }
    }

    pub(super) fn target(&self, name: &Reference) -> Result<Option<ImageId>> {
        let path = self.link(name);
        match fs::read_link(&path) {
            Ok(target) => Digest::from_hex(&target.to_string_lossy())
                .map(|digest| Some(ImageId(digest)))
                .context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // A file name longer than the kernel knows is nobody's name.
            Err(error) if error.kind() == ErrorKind::InvalidFilename => Ok(None),
            Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Finds an image by what a user may write: a name, `NAME@DIGEST`, an ID or the beginning of one.
    pub fn find(&self, text: &str) -> Result<Option<Image>> {
        Ok(self.find_named(text)?.map(|(image, _)| image))
    }

    /// As [`find`](Self::find); also returns the complete name, if it was found by a name.
    pub fn find_named(&self, text: &str) -> Result<Option<(Image, Option<Reference>)>> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if let Ok(digest) = Digest::from_hex(hex) {
            return Ok(self.get(&ImageId(digest))?.map(|image| (image, None)));
        }
        let short = Reference::short(text);
        if let Ok(short) = &short {
            // A name that was given here leads to no registry: their configuration is not read for it.
            let own = if short.is_some() { Reference::local(text)? } else { text.parse()? };
            if let Some(image) = self.named(&own)? {
                return Ok(Some((image, Some(own))));
            }
        }
        if let Ok(Some(_)) = short {
            for name in registries::read()?.local(text)? {
                if let Some(image) = self.named(&name)? {
                    return Ok(Some((image, Some(name))));
                }
            }
        }
        if is_hex(hex) && hex.len() >= MIN_PREFIX {
            return Ok(self.find_by_prefix(hex)?.map(|image| (image, None)));
        }
        // What cannot be a name is the user's mistake, not a missing image.
        short.map(|_| None)
    }

    fn find_by_prefix(&self, hex: &str) -> Result<Option<Image>> {
        let mut found = self.ids()?.into_iter().filter(|id| id.hex().starts_with(hex));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(id), None) => self.get(&id),
            (Some(_), Some(_)) => Err(Error::new(
                Kind::Conflict,
                format!("more than one image has an ID that begins with `{hex}`"),
            )
            .hint("give more digits of the ID")),
        }
    }

    /// As [`find`](Self::find); a missing image is an error.
    pub fn lookup(&self, text: &str) -> Result<Image> {
        self.find(text)?.ok_or_else(|| not_known(text))
    }

    fn ids(&self) -> Result<Vec<ImageId>> {
        let dir = self.store.root.join("images");
        let context = || format!("cannot list {}", dir.display());
        let mut ids = Vec::new();
        for entry in fs::read_dir(&dir).context(context)? {
            let name = entry.context(context)?.file_name();
            let hex = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(Ok(digest)) = hex.map(Digest::from_hex) {
                ids.push(ImageId(digest));
            }
        }
        Ok(ids)
    }

    /// Reads the names of all images.
    pub fn all_names(&self) -> Result<HashMap<ImageId, Names>> {
        let mut names: HashMap<ImageId, Names> = HashMap::new();
        let refs = self.refs();
        let repositories = match fs::read_dir(&refs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
            Err(error) => return Err(error).context(|| format!("cannot list {}", refs.display())),
        };
        for repository in repositories {
            let repository = repository.context(|| format!("cannot list {}", refs.display()))?;
            let name = repository.file_name().to_string_lossy().replace('%', "/");
            // It may be removed as we look.
            let Ok(tags) = fs::read_dir(repository.path()) else { continue };
            for tag in tags {
                let tag = tag.context(|| format!("cannot list {}", refs.display()))?.file_name();
                // Others are links that are just being made.
                let Ok(name) = Reference::stored(&name, &tag.to_string_lossy()) else { continue };
                if let Some(id) = self.target(&name)? {
                    names.entry(id).or_default().add(name);
                }
            }
        }
        for names in names.values_mut() {
            names.tags.sort_unstable();
            names.digests.sort_unstable();
        }
        Ok(names)
    }

    /// Reads all images, in no order; also returns what is wrong with records that are damaged.
    pub fn read_all(&self) -> Result<(Vec<Image>, Vec<Damaged>)> {
        let (mut images, mut damaged) = (Vec::new(), Vec::new());
        for id in self.ids()? {
            match self.get(&id) {
                Ok(Some(image)) => images.push(image),
                // Removed as we look.
                Ok(None) => {}
                Err(error) => damaged.push(Damaged { id, error }),
            }
        }
        Ok((images, damaged))
    }

    /// Counts the images.
    pub fn count(&self) -> Result<usize> {
        Ok(self.ids()?.len())
    }

    /// Reads all images with their names, the newest first; those that are damaged are left out.
    pub fn list(&self) -> Result<Vec<NamedImage>> {
        Ok(self.list_all()?.0)
    }

    /// As [`list`](Self::list); also returns what is wrong with records that are damaged.
    pub fn list_all(&self) -> Result<(Vec<NamedImage>, Vec<Damaged>)> {
        let (images, damaged) = self.read_all()?;
        let mut names = self.all_names()?;
        let named = |image: Image| {
            let Names { tags, digests } = names.remove(&image.id).unwrap_or_default();
            NamedImage { image, names: tags, digests }
        };
        let mut images: Vec<NamedImage> = images.into_iter().map(named).collect();
        images.sort_by(|a, b| {
            b.image.created.cmp(&a.image.created).then_with(|| a.image.id.cmp(&b.image.id))
        });
        Ok((images, damaged))
    }

    /// Adds an image's names to it.
    pub fn with_names(&self, image: Image) -> Result<NamedImage> {
        let Names { tags, digests } = self.all_names()?.remove(&image.id).unwrap_or_default();
        Ok(NamedImage { image, names: tags, digests })
    }

    /// Reads an image's configuration document.
    pub fn config(&self, id: &ImageId) -> Result<ImageConfig> {
        let data = self.store.blobs().read(&id.0)?.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("the configuration of image {id} is missing"))
                .hint("pull or load the image again")
        })?;
        serde_json::from_slice(&data)
            .context(|| format!("the configuration of image {id} is damaged"))
    }

    /// Records an image and gives it names; it takes them over from other images. All that is durable
    /// once [`Store::flush_later`] has done its work.
    ///
    /// The caller holds [`Store::shared`]. Returns what is on record now; `None` if a layer or blob of it
    /// was removed in the meantime: nothing is recorded then, and the caller begins anew.
    pub fn put(
        &self,
        image: &Image,
        names: &[Reference],
        _collector_kept_away: &Lock,
    ) -> Result<Option<Image>> {
        let _lock = self.lock()?;
        let blobs = self.store.blobs();
        if !image.layers.iter().all(|layer| self.store.layers().exists(layer))
            || !image.blobs.iter().all(|blob| blobs.exists(blob))
        {
            return Ok(None);
        }
        let mut record = image.clone();
        // One that is damaged is replaced.
        let old = self.get(&image.id).ok().flatten();
        if let Some(old) = &old {
            // The same image by another way: what either way brought is kept.
            record.manifest_digest = record.manifest_digest.or(old.manifest_digest.clone());
            record.blobs.extend(old.blobs.iter().cloned());
        }
        record.blobs.sort_unstable();
        record.blobs.dedup();
        let path = self.record(&image.id);
        match old {
            Some(old) if old == record => {}
            // It may be on the disk, and is not to be lost.
            Some(_) => file::write_json(&path, &record)?,
            None => {
                self.store.mark([path.as_path()])?;
                file::write_json_volatile(&path, &record)?;
            }
        }
        self.set_links(names, &image.id)?;
        Ok(Some(record))
    }

    /// Gives an image another name, taking it over from another image.
    pub fn tag(&self, id: &ImageId, name: &Reference) -> Result<()> {
        let _lock = self.lock()?;
        if self.get(id)?.is_none() {
            return Err(not_known(id.hex()));
        }
        self.set_link(name, id)
    }

    /// Lets a name lead to an image, on the disk, too.
    pub(super) fn set_link(&self, name: &Reference, id: &ImageId) -> Result<()> {
        if self.set_links(std::slice::from_ref(name), id)? {
            let path = self.link(name);
            file::sync_parent(&path)
                .and_then(|()| path.parent().map_or(Ok(()), file::sync_parent))
                .context(|| format!("cannot write {} to the disk", path.display()))?;
        }
        Ok(())
    }

    /// Lets names lead to an image; `false` if all of them did.
    fn set_links(&self, names: &[Reference], id: &ImageId) -> Result<bool> {
        let mut is_changed = false;
        for name in names {
            let path = self.link(name);
            if self.target(name)?.as_ref() == Some(id) {
                continue;
            }
            is_changed = true;
            let dir = path.parent().unwrap_or(&self.store.root);
            file::create_dirs(dir, 0o700)?;
            // The lock is held: nobody else makes this. No repository begins with a dot.
            let temporary = self.refs().join(".new");
            file::remove_file(&temporary)?;
            std::os::unix::fs::symlink(id.hex(), &temporary)
                .and_then(|()| fs::rename(&temporary, &path))
                .context(|| format!("cannot give an image the name `{name}`"))?;
        }
        Ok(is_changed)
    }

    /// Takes a name away; `false` if there is no such name. The image stays.
    pub fn untag(&self, name: &Reference) -> Result<bool> {
        let _lock = self.lock()?;
        let removed = self.remove_link(name)?;
        if removed {
            // The directory of the repository is gone if this was its last name.
            let path = self.link(name);
            file::sync_parent(&path)
                .or_else(|_| file::sync_parent(&self.refs().join("x")))
                .context(|| format!("cannot remove the name `{name}`"))?;
        }
        Ok(removed)
    }

    /// Removes the link of a name. After a power loss it may be there again.
    pub(super) fn remove_link(&self, name: &Reference) -> Result<bool> {
        let path = self.link(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).context(|| format!("cannot remove the name `{name}`")),
        }
        if let Some(dir) = path.parent() {
            // Not empty as a rule: other tags.
            drop(fs::remove_dir(dir));
        }
        Ok(true)
    }

    /// Takes an image and its names off the record; `names` are all that it has.
    ///
    /// The caller makes sure that nobody uses it, and then [frees](Store::free) what it consisted of:
    /// only that makes the removal durable.
    pub fn forget(
        &self,
        id: &ImageId,
        names: Names,
        _makers_kept_away: &Lock,
    ) -> Result<Vec<Removal>> {
        let _lock = self.lock()?;
        let mut done = Vec::new();
        for name in names.tags.into_iter().chain(names.digests) {
            self.remove_link(&name)?;
            done.push(Removal::Untagged(name));
        }
        file::remove_file(&self.record(id))?;
        done.push(Removal::Deleted(id.clone()));
        Ok(done)
    }
}

impl Names {
    fn add(&mut self, name: Reference) {
        if name.digest().is_some() { self.digests.push(name) } else { self.tags.push(name) }
    }
}

/// The error for an image that is not here.
pub fn not_known(text: &str) -> Error {
    Error::new(Kind::NotFound, format!("{text}: image not known"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::layer::LayerInfo;

    pub(in crate::store) fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        (dir, store)
    }

    pub(in crate::store) fn layer(store: &Store, digit: char) -> DiffId {
        let id = DiffId(Digest::from_hex(&String::from(digit).repeat(64)).unwrap());
        let draft = store.layers().begin().unwrap();
        fs::write(draft.diff().join("file"), "x").unwrap();
        store.publish(vec![draft.finish(&id, &LayerInfo::default()).unwrap()]).unwrap();
        id
    }

    pub(in crate::store) fn image(store: &Store, text: &str, layers: &[&DiffId]) -> Image {
        let id = store.blobs().write(text.as_bytes()).unwrap();
        Image {
            id: ImageId(id.clone()),
            layers: layers.iter().map(|&layer| layer.clone()).collect(),
            config: RunConfig::default(),
            architecture: "amd64".to_owned(),
            variant: None,
            os: "linux".to_owned(),
            created: 0,
            size: 1,
            manifest_digest: None,
            blobs: vec![id],
            builtin: None,
            format: None,
            annotations: Annotations::new(),
        }
    }

    pub(in crate::store) fn put(store: &Store, image: &Image, names: &[&str]) {
        let names: Vec<Reference> = names.iter().map(|name| name.parse().unwrap()).collect();
        assert!(store.images().put(image, &names, &store.shared().unwrap()).unwrap().is_some());
    }

    #[test]
    fn finds_images_as_users_write_them() {
        let (_dir, store) = store();
        let base = layer(&store, 'a');
        let one = image(&store, "{}", &[&base]);
        let two = image(&store, "{ }", &[&base]);
        let digest = format!("docker.io/library/x@sha256:{}", "7".repeat(64));
        put(&store, &one, &["x", "quay.io/a/b:1.0", &digest]);
        put(&store, &two, &["localhost/x:2", "localhost/y"]);
        let id = one.id.hex();
        for (text, want) in [
            ("x", Some(&one)),
            ("docker.io/library/x:latest", Some(&one)),
            ("x:2", Some(&two)),
            ("y", Some(&two)),
            ("docker.io/y", None),
            ("quay.io/a/b:1.0", Some(&one)),
            ("quay.io/a/b", None),
            (&digest, Some(&one)),
            (id, Some(&one)),
            (&format!("sha256:{id}"), Some(&one)),
            (&id[..12], Some(&one)),
            (&format!("sha256:{}", &id[..5]), Some(&one)),
            (&id[..2], None),
            (&"0".repeat(64), None),
        ] {
            assert_eq!(store.images().find(text).unwrap().as_ref(), want, "{text}");
        }
        assert!(store.images().find("../x").is_err());
        put(&store, &two, &["x"]);
        assert_eq!(store.images().lookup("x").unwrap(), two, "a name moves");
        let named = store.images().with_names(two).unwrap();
        let names: Vec<_> = named.names.iter().map(Reference::familiar).collect();
        assert_eq!(names, ["x:latest", "localhost/x:2", "localhost/y:latest"]);
        assert_eq!(store.images().list().unwrap().len(), 2);
    }
}
