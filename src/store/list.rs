//! Manifest lists: the same image for several platforms, put together here.
//!
//! `lists/HEX.json` says what a list contains; its names are links among those of the images, and its
//! ID is made up at random, since a list may change and an image may not. The document that is pushed
//! follows from the record. Whoever changes a list or its names holds `images.lock`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::garbage::Parts;
use super::image::{Image, NamedImage, Names, Removal, not_known};
use super::lock::Lock;
use super::{Store, file};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::digest::{DiffId, Digest, ImageId};
use crate::spec::id::is_hex;
use crate::spec::image::RunConfig;
use crate::spec::oci::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, Index, OCI_INDEX};
use crate::spec::reference::Reference;

/// A manifest list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Names lead to it as they lead to an image's ID.
    pub id: ImageId,
    /// When it was made, in nanoseconds since 1970.
    pub created: i64,
    /// Its content; the media type is decided when it is written.
    pub index: Index,
    /// Where its members are, by their digests.
    pub members: BTreeMap<Digest, Member>,
}

/// Where a member of a list is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// The image of this store whose manifest it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// Whether the manifest was made here, for an image that came without one. What is pushed for it is
    /// compressed, and has another digest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
    /// The unpacked layers of that image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<DiffId>,
    /// Its manifest, configuration and compressed layers, as far as they are here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Digest>,
    /// Where the rest can be had, with the digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Reference>,
}

impl Member {
    /// Adds what it has here.
    pub fn add_to(&self, parts: &mut Parts) {
        parts.layers.extend(self.layers.iter().cloned());
        parts.blobs.extend(self.blobs.iter().cloned());
    }
}

impl List {
    /// Makes an empty list that is not on record.
    pub fn new(created: i64) -> Result<Self> {
        let mut random = [0; 32];
        super::draft::fill_random(&mut random)?;
        Ok(Self {
            id: ImageId(Digest::from_sha256(&random)),
            created,
            index: Index::default(),
            members: BTreeMap::new(),
        })
    }

    /// Returns the document that is pushed.
    ///
    /// It is Docker's where all of it can be said in Docker's words and all members are in them.
    pub fn document(&self) -> Index {
        let index = &self.index;
        let is_docker = !index.manifests.is_empty()
            && index.annotations.is_empty()
            && index.subject.is_none()
            && index.artifact_type.is_none()
            && index.manifests.iter().all(|member| {
                member.media_type == DOCKER_MANIFEST && member.annotations.is_empty()
            });
        let media_type = if is_docker { DOCKER_LIST } else { OCI_INDEX };
        Index { media_type: media_type.to_owned(), ..index.clone() }
    }

    /// Returns the bytes of that document.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.document()).context(|| "cannot encode the manifest list")
    }

    /// Adds a member; one with the same digest is replaced.
    pub fn add(&mut self, descriptor: Descriptor, member: Member) {
        self.index.manifests.retain(|known| known.digest != descriptor.digest);
        self.members.insert(descriptor.digest.clone(), member);
        self.index.manifests.push(descriptor);
    }

    /// Finds a member by its digest.
    pub fn member_mut(&mut self, digest: &Digest) -> Result<&mut Descriptor> {
        let missing = no_member(digest);
        self.index.manifests.iter_mut().find(|known| known.digest == *digest).ok_or(missing)
    }

    /// Takes a member out.
    pub fn take(&mut self, digest: &Digest) -> Result<Member> {
        let before = self.index.manifests.len();
        self.index.manifests.retain(|known| known.digest != *digest);
        if self.index.manifests.len() == before {
            return Err(no_member(digest));
        }
        Ok(self.members.remove(digest).unwrap_or_default())
    }

    /// Returns all that its members have here.
    pub fn parts(&self) -> Parts {
        let mut parts = Parts::default();
        self.members.values().for_each(|member| member.add_to(&mut parts));
        parts
    }

    /// Returns it as listings of images show it.
    fn as_image(&self) -> Result<Image> {
        let bytes = self.bytes()?;
        Ok(Image {
            id: self.id.clone(),
            layers: Vec::new(),
            config: RunConfig::default(),
            architecture: String::new(),
            variant: None,
            os: String::new(),
            created: self.created,
            size: bytes.len() as u64,
            manifest_digest: Some(super::blob::digest_of(&bytes)),
            blobs: Vec::new(),
            builtin: None,
            format: None,
            annotations: BTreeMap::new(),
        })
    }
}

fn no_member(digest: &Digest) -> Error {
    Error::new(
        Kind::NotFound,
        format!("no instance matching digest \"{digest}\" found in manifest list"),
    )
}

/// All manifest lists of a store.
#[derive(Clone, Copy, Debug)]
pub struct Lists<'a> {
    store: &'a Store,
}

impl<'a> Lists<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store }
    }

    fn record(&self, id: &ImageId) -> PathBuf {
        self.store.root.join("lists").join(format!("{}.json", id.hex()))
    }

    /// Reads a list; `None` if there is none with this ID.
    pub fn get(&self, id: &ImageId) -> Result<Option<List>> {
        file::read_json(&self.record(id))
    }

    /// Finds a list by what a user may write: a name, an ID or the beginning of one.
    ///
    /// Also returns the complete name, if it was found by a name. A name that leads to an image is none
    /// of a list.
    pub fn find(&self, text: &str) -> Result<Option<(List, Option<Reference>)>> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if let Ok(digest) = Digest::from_hex(hex) {
            return Ok(self.get(&ImageId(digest))?.map(|list| (list, None)));
        }
        let candidates = Reference::candidates(text);
        for name in candidates.as_deref().unwrap_or_default() {
            let Some(id) = self.store.images().target(name)? else { continue };
            if let Some(list) = self.get(&id)? {
                return Ok(Some((list, Some(name.clone()))));
            }
            if self.store.images().get(&id)?.is_some() {
                return Ok(None);
            }
        }
        if is_hex(hex) && hex.len() >= super::image::MIN_PREFIX {
            let ids = self.ids()?;
            let mut found = ids.iter().filter(|id| id.hex().starts_with(hex));
            if let (Some(id), None) = (found.next(), found.next()) {
                return Ok(self.get(id)?.map(|list| (list, None)));
            }
        }
        // What cannot be a name is the user's mistake, not a missing list.
        candidates.map(|_| None)
    }

    /// As [`find`](Self::find); a missing list is an error.
    pub fn lookup(&self, text: &str) -> Result<List> {
        if let Some((list, _)) = self.find(text)? {
            return Ok(list);
        }
        match self.store.images().find_named(text)? {
            Some((image, name)) => {
                let name = name.map_or_else(|| image.id.hex().to_owned(), |name| name.to_string());
                Err(Error::new(Kind::Invalid, format!("{name}: image is not a manifest list")))
            }
            None => Err(not_known(text)),
        }
    }

    fn ids(&self) -> Result<Vec<ImageId>> {
        file::record_digests(&self.store.root.join("lists"))
            .map(|digests| digests.into_iter().map(ImageId).collect())
    }

    /// Reads all lists.
    pub fn all(&self) -> Result<Vec<List>> {
        let mut all = Vec::new();
        for id in self.ids()? {
            // Removed as we look.
            all.extend(self.get(&id)?);
        }
        Ok(all)
    }

    /// Reads all lists with their names, as images.
    pub fn list(&self) -> Result<Vec<NamedImage>> {
        let ids = self.ids()?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut all_names = self.store.images().all_names()?;
        let mut lists = Vec::new();
        for id in ids {
            // Removed as we look.
            let Some(list) = self.get(&id)? else { continue };
            let Names { tags, digests } = all_names.remove(&id).unwrap_or_default();
            lists.push(NamedImage { image: list.as_image()?, names: tags, digests });
        }
        Ok(lists)
    }

    /// Adds a list's names to it, as if it were an image.
    pub fn with_names(&self, list: &List) -> Result<NamedImage> {
        self.store.images().with_names(list.as_image()?)
    }

    /// Makes an empty list and gives it a name that nothing else has.
    pub fn create(&self, name: &Reference, created: i64) -> Result<List> {
        let images = self.store.images();
        let _lock = images.lock()?;
        if let Some(holder) = images.target(name)?
            && (images.get(&holder)?.is_some() || self.get(&holder)?.is_some())
        {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "image name \"{name}\" is already associated with image \"{}\": that name is already in use",
                    holder.hex()
                ),
            )
            .hint("use --amend to add to a list that is there, or choose another name"));
        }
        let list = List::new(created)?;
        file::create_dirs(&self.store.root.join("lists"), 0o700)?;
        file::write_json(&self.record(&list.id), &list)?;
        images.set_link(name, &list.id)?;
        Ok(list)
    }

    /// Records a whole list under names, which are taken over from what had them. A list that has lost its
    /// last name by that is forgotten.
    ///
    /// The caller holds [`Store::shared`] since it looked at what the list refers to.
    pub fn put(&self, list: &List, names: &[Reference], _collector_kept_away: &Lock) -> Result<()> {
        let images = self.store.images();
        let _lock = images.lock()?;
        file::create_dirs(&self.store.root.join("lists"), 0o700)?;
        file::write_json(&self.record(&list.id), list)?;
        let mut before = Vec::new();
        for name in names {
            before.extend(images.target(name)?);
            images.set_link(name, &list.id)?;
        }
        let named = images.all_names()?;
        for id in before.iter().filter(|id| !named.contains_key(id)) {
            if self.get(id)?.is_some() {
                file::remove_file(&self.record(id))?;
            }
        }
        Ok(())
    }

    /// Changes a list, and returns it as it is then.
    ///
    /// The caller holds [`Store::shared`] since it looked at what it adds.
    pub fn change(
        &self,
        id: &ImageId,
        change: impl FnOnce(&mut List) -> Result<()>,
        _collector_kept_away: &Lock,
    ) -> Result<List> {
        let _lock = self.store.images().lock()?;
        let mut list = self.get(id)?.ok_or_else(|| not_known(id.hex()))?;
        change(&mut list)?;
        file::write_json(&self.record(id), &list)?;
        Ok(list)
    }

    /// Gives a list another name, taking it over from another list or image.
    pub fn tag(&self, id: &ImageId, name: &Reference) -> Result<()> {
        let images = self.store.images();
        let _lock = images.lock()?;
        if self.get(id)?.is_none() {
            return Err(not_known(id.hex()));
        }
        images.set_link(name, id)
    }

    /// Takes a list and its names off the record; `names` are all that it has.
    ///
    /// The caller then [frees](Store::free) the [parts](List::parts).
    pub fn forget(
        &self,
        id: &ImageId,
        names: Names,
        _makers_kept_away: &Lock,
    ) -> Result<Vec<Removal>> {
        let images = self.store.images();
        let _lock = images.lock()?;
        let mut done = Vec::new();
        for name in names.tags.into_iter().chain(names.digests) {
            images.remove_link(&name)?;
            done.push(Removal::Untagged(name));
        }
        let record = self.record(id);
        file::remove_file(&record)?;
        file::sync_parent(&record).context(|| format!("cannot remove {}", record.display()))?;
        done.push(Removal::Deleted(id.clone()));
        Ok(done)
    }

    /// Adds what lists refer to.
    pub(super) fn add_roots(&self, roots: &mut Parts) -> Result<()> {
        for id in self.ids()? {
            let Some(list) = self.get(&id)? else { continue };
            list.members.values().for_each(|member| member.add_to(roots));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::oci::OCI_MANIFEST;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
        (dir, store)
    }

    fn descriptor(media_type: &str, digest: &Digest) -> Descriptor {
        Descriptor::new(media_type, digest.clone(), 1)
    }

    #[test]
    fn keeps_what_its_members_need() {
        let (_dir, store) = store();
        let lists = store.lists();
        let name: Reference = "localhost/all".parse().unwrap();
        let list = lists.create(&name, 1).unwrap();
        assert_eq!(lists.create(&name, 1).unwrap_err().kind(), Kind::Conflict);
        let digest = store.blobs().write(b"{}").unwrap();
        let loose = store.blobs().write(b"[]").unwrap();
        let shared = store.shared().unwrap();
        let member = || Member { blobs: vec![digest.clone()], ..Member::default() };
        let add = |list: &mut List| {
            list.add(descriptor(OCI_MANIFEST, &digest), member());
            Ok(())
        };
        lists.change(&list.id, add, &shared).unwrap();
        let changed = lists.change(&list.id, add, &shared).unwrap();
        assert_eq!(changed.index.manifests.len(), 1, "the same member is there once");
        drop(shared);
        let exclusive = store.exclusive().unwrap();
        let collect = || store.collect_garbage(&exclusive).unwrap().erase().unwrap();
        collect();
        assert!(store.blobs().exists(&digest) && !store.blobs().exists(&loose));
        assert_eq!(lists.list().unwrap()[0].names, std::slice::from_ref(&name));
        assert_eq!(lists.lookup("all").unwrap(), changed);
        assert_eq!(lists.lookup(&list.id.hex()[..12]).unwrap(), changed);
        let names = Names { tags: vec![name.clone()], digests: Vec::new() };
        let gone = lists.forget(&list.id, names, &exclusive).unwrap();
        collect();
        assert_eq!(gone, [Removal::Untagged(name), Removal::Deleted(list.id)]);
        assert!(!store.blobs().exists(&digest));
        assert!(lists.find("all").unwrap().is_none());
    }

    #[test]
    fn is_dockers_only_if_all_of_it_is() {
        let (_dir, store) = store();
        let mut list = store.lists().create(&"localhost/x".parse().unwrap(), 0).unwrap();
        assert_eq!(list.document().media_type, OCI_INDEX);
        let digest = |digit: &str| Digest::from_hex(&digit.repeat(64)).unwrap();
        list.add(descriptor(DOCKER_MANIFEST, &digest("1")), Member::default());
        assert_eq!(list.document().media_type, DOCKER_LIST);
        list.add(descriptor(OCI_MANIFEST, &digest("2")), Member::default());
        assert_eq!(list.document().media_type, OCI_INDEX);
        list.take(&digest("2")).unwrap();
        assert!(list.take(&digest("2")).is_err());
        list.index.annotations.insert("a".to_owned(), "b".to_owned());
        assert_eq!(list.document().media_type, OCI_INDEX);
    }

    #[test]
    fn loses_nothing_when_several_add() {
        let (_dir, store) = store();
        let list = store.lists().create(&"localhost/x".parse().unwrap(), 0).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8_u8 {
                let (store, id) = (&store, &list.id);
                scope.spawn(move || {
                    let shared = store.shared().unwrap();
                    let digest = Digest::from_sha256(&[number; 32]);
                    let member = descriptor(OCI_MANIFEST, &digest);
                    let add = |list: &mut List| {
                        list.add(member, Member::default());
                        Ok(())
                    };
                    store.lists().change(id, add, &shared).unwrap();
                });
            }
        });
        assert_eq!(store.lists().get(&list.id).unwrap().unwrap().index.manifests.len(), 8);
    }
}
